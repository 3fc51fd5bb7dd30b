"""A comparison of methods as tables: for a terminal, for a page (Markdown), for a sheet (CSV)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from projner import storage
from projner.report import plot
from projner.report.table import table

if TYPE_CHECKING:
    from projner.evaluate.compare import Comparison, Outcome


PLOT = "F1 by language and method"


class Titled(NamedTuple):
    """A table under a title."""

    title: str
    header: list[str]
    rows: list[list[Any]]


_FIGURES: dict[str, Callable[[Outcome], Any]] = {
    "F1": lambda outcome: outcome.f1,
    "precision": lambda outcome: outcome.precision,
    "recall": lambda outcome: outcome.recall,
    "agreement with the majority": lambda outcome: outcome.majority,
    "rows labelled": lambda outcome: outcome.labelled,
    "entities projected": lambda outcome: outcome.projected,
    "entities per sentence": lambda outcome: outcome.entities_per_row,
    "seconds": lambda outcome: outcome.seconds,
}
_CSV = (
    "corpus",
    "language",
    "method",
    "precision",
    "recall",
    "f1",
    "majority",
    "rows",
    "labelled",
    "projected",
    "entities_per_row",
    "seconds",
    "reason",
    "signature",
)


def tables(comparison: Comparison) -> list[Titled]:
    """One corpus in one language: a row for each method. More: a table for each figure, with a row
    for each corpus and language and a column for each method; and how much each pair of methods
    agrees, for corpora without gold."""
    outcomes = comparison.outcomes
    rows = list(dict.fromkeys(map(row_of, outcomes)))
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    cells = {(row_of(outcome), outcome.method): outcome for outcome in outcomes}
    figures = {
        name: get for name, get in _FIGURES.items() if any(get(o) is not None for o in outcomes)
    }
    if len(rows) == 1:
        body = [[o.method, *(get(o) for get in figures.values())] for o in outcomes]
        found = [Titled(rows[0], ["method", *figures], body)]
    else:
        found = [
            Titled(
                name,
                ["corpus", *methods],
                [[row, *(_cell(cells.get((row, m)), get) for m in methods)] for row in rows],
            )
            for name, get in figures.items()
        ]
    for row in rows:
        agreeing = [o for o in outcomes if row_of(o) == row and o.agreement]
        names = [o.method for o in agreeing]
        if names:
            body = [[o.method, *(o.agreement.get(name, 1.0) for name in names)] for o in agreeing]
            found.append(Titled(f"agreement on {row} (exact-span F1)", ["method", *names], body))
    return found


def as_text(comparison: Comparison, extra: Sequence[Titled] = (), cited: Sequence[str] = ()) -> str:
    """All tables, what could not be run and why, the signatures, and what is `cited`."""
    shown = [*tables(comparison), *extra]
    parts = [f"{title}\n{table(header, rows)}" for title, header, rows in shown]
    parts += [
        f"{title}\n" + "\n".join(f"  {line}" for line in lines)
        for title, lines in _notes(comparison, cited)
    ]
    return "\n\n".join(parts)


def as_markdown(
    comparison: Comparison, extra: Sequence[Titled] = (), cited: Sequence[str] = ()
) -> str:
    """The same as a page; the best figure of a row is bold. `as_svg` is beside it as `compare.svg`."""
    plotted = any(outcome.f1 is not None for outcome in comparison.outcomes)
    parts = [f"![{PLOT}](compare.svg)"] if plotted else []
    for title, header, rows in [*tables(comparison), *extra]:
        lines = [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
        bold = title == "F1"
        lines += [_line([row[0], *_figures(row[1:], bold)]) for row in rows]
        parts.append(f"## {title}\n\n" + "\n".join(lines))
    parts += [
        f"## {title}\n\n" + "\n".join(f"* {line}" for line in lines)
        for title, lines in _notes(comparison, cited)
    ]
    return "\n\n".join(parts) + "\n"


def as_svg(comparison: Comparison) -> str | None:
    """F1 by corpus, language and method as a plot, where any is known."""
    figures: dict[str, dict[str, float]] = {}
    for outcome in comparison.outcomes:
        if outcome.f1 is not None:
            figures.setdefault(outcome.method, {})[row_of(outcome)] = outcome.f1
    return plot.dots(figures, title=PLOT, x="F1") if figures else None


def as_csv(comparison: Comparison) -> str:
    """A line for each corpus, language and method."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(_CSV)
    writer.writerows([getattr(o, name) for name in _CSV] for o in comparison.outcomes)
    return sheet.getvalue()


def write(
    comparison: Comparison, output: str, extra: Sequence[Titled] = (), cited: Sequence[str] = ()
) -> None:
    """Leave `compare.md`, `compare.csv` and, where there are figures, `compare.svg` in a folder."""
    folder = storage.at(output)
    if drawn := as_svg(comparison):
        (folder / "compare.svg").write(drawn.encode())
    (folder / "compare.md").write(as_markdown(comparison, extra, cited).encode())
    (folder / "compare.csv").write(as_csv(comparison).encode())


def row_of(outcome: Outcome) -> str:
    """What a row is called: the corpus, and the language where that does not say it."""
    if outcome.single:
        return outcome.corpus
    return f"{outcome.corpus} {outcome.language}"


def _notes(comparison: Comparison, cited: Sequence[str]) -> list[tuple[str, list[str]]]:
    corpora_of: dict[tuple[str, str], list[str]] = {}
    for item in comparison.skipped:
        corpora_of.setdefault((item.method, item.reason), []).append(item.corpus)
    for outcome in comparison.outcomes:
        if outcome.reason:
            corpora_of.setdefault((outcome.method, outcome.reason), []).append(row_of(outcome))
    every = len({outcome.corpus for outcome in comparison.outcomes})
    without = [
        f"{method}: {reason}" + ("" if len(names) >= every else f" ({', '.join(names)})")
        for (method, reason), names in corpora_of.items()
    ]
    runs = [
        f"{run.corpus} {run.name}: {run.seconds:.1f} s, read by {', '.join(run.methods)}"
        for run in comparison.stretches
        if len(run.methods) > 1
    ]
    signatures = sorted({f"{o.method}: {o.signature}" for o in comparison.outcomes})
    notes = [
        ("without figures", without),
        ("done once", runs),
        ("signatures", signatures),
        ("published figures", list(cited)),
    ]
    return [(title, lines) for title, lines in notes if lines]


def _cell(outcome: Outcome | None, get: Callable[[Outcome], Any]) -> Any:
    return None if outcome is None else get(outcome)


def _figures(values: Sequence[Any], bold: bool) -> list[str]:
    best = max((f"{v:.3f}" for v in values if isinstance(v, float)), default="") if bold else None
    texts = [f"{v:.3f}" if isinstance(v, float) else "" if v is None else str(v) for v in values]
    return [f"**{text}**" if text and text == best else text for text in texts]


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
