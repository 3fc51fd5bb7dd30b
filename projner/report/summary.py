"""What a command says when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projner.report.table import table

if TYPE_CHECKING:
    from projner.evaluate.compare import Outcome
    from projner.evaluate.f1 import Evaluation
    from projner.pipeline import Result


def of_result(result: Result) -> str:
    """Rows by status, entities by class, seconds by run and stage, and where the Parquet is."""
    snapshot = result.snapshot
    lines = [
        f"{snapshot.rows:,} rows, {result.computed:,} computed now; "
        + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items()),
        "",
        table(("status", "rows"), _by_count(snapshot.statuses)),
        "",
        table(("class", "entities"), sorted(snapshot.entities.items())),
        "",
        table(("stage", "seconds"), list(result.stages.items())),
        "",
        f"shards    {result.run.folder / 'data'} (snapshot {snapshot.number})",
        f"signature {snapshot.signature}",
    ]
    return "\n".join(lines)


def _by_count(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def of_evaluation(evaluation: Evaluation) -> str:
    """Precision, recall and F1 by class and overall, and the signature."""
    rows = [
        (name, figures.precision, figures.recall, figures.f1, figures.support)
        for name, figures in [*evaluation.classes.items(), ("overall", evaluation.overall)]
    ]
    header = ("class", "precision", "recall", "F1", "support")
    return f"{table(header, rows)}\n\nsignature {evaluation.signature}"


def of_comparison(outcomes: list[Outcome]) -> str:
    """Tables with a row for each corpus and a column for each method, and the signatures."""
    from projner.evaluate.compare import grid

    measured = any(outcome.f1 is not None for outcome in outcomes)
    figures = {"F1": "f1"} if measured else {}
    figures |= {"entities per sentence": "entities_per_row", "seconds": "seconds"}
    parts = [f"{title}\n{table(*grid(outcomes, name))}" for title, name in figures.items()]
    signatures = sorted({f"{outcome.method}: {outcome.signature}" for outcome in outcomes})
    return "\n\n".join([*parts, "signatures\n" + "\n".join(f"  {line}" for line in signatures)])
