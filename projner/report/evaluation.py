"""What `projner evaluate` found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from projner.report.table import table

if TYPE_CHECKING:
    from projner.evaluate.details import Tally
    from projner.evaluate.f1 import Figures
    from projner.evaluate.verdict import Judged, Verdict

_FIGURES = ("precision", "recall", "F1", "support")


def as_text(verdict: Verdict) -> str:
    """Figures by class, by length, and by what was seen; the confusion of classes; F1 with its 95 %
    interval beside what it takes; the differences from others; notes and signatures."""
    main = verdict.main
    rows = [
        (name, *_cells(figures))
        for name, figures in [
            *main.evaluation.classes.items(),
            ("overall", main.evaluation.overall),
        ]
    ]
    parts = [table(("class", *_FIGURES), rows), _tallies("words", main.details.lengths)]
    if main.details.seen is not None:
        parts.append(_tallies("in training", main.details.seen))
    parts.append(_confusion(main))
    judged = [main, *(other for other, _ in verdict.others)]
    parts.append(_costs(judged))
    if verdict.others:
        parts.append(_gains(verdict))
    if notes := [note for each in judged for note in each.notes]:
        parts.append("\n".join(f"note      {note}" for note in notes))
    signatures = dict.fromkeys(each.evaluation.signature for each in judged)
    parts.append("\n".join(f"signature {signature}" for signature in signatures))
    return "\n\n".join(parts)


def _cells(figures: Figures) -> tuple[float, float, float, int]:
    return figures.precision, figures.recall, figures.f1, figures.support


def _tallies(kind: str, tallies: Mapping[str, Tally]) -> str:
    rows = [(name, *_cells(tally.figures)) for name, tally in tallies.items()]
    return table((kind, *_FIGURES), rows)


def _confusion(judged: Judged) -> str:
    found = judged.details.confusion
    columns = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [(name, *(row.get(column) for column in columns)) for name, row in found.items()]
    return table(("gold \\ predicted", *columns), rows)


def _costs(judged: Sequence[Judged]) -> str:
    """What each is worth, and what it takes."""
    rows = [
        (
            each.name,
            each.evaluation.overall.f1,
            each.interval.low,
            each.interval.high,
            each.cost and each.cost.parameters,
            each.cost and round(each.cost.sentences_per_second),
            each.cost and round(each.cost.words_per_second),
        )
        for each in judged
    ]
    header = ("labels of", "F1", "low", "high", "parameters", "sentences/s", "words/s")
    return table(header, rows)


def _gains(verdict: Verdict) -> str:
    rows = [(name.name, gain.gain, gain.low, gain.high, gain.p) for name, gain in verdict.others]
    header = (f"F1 of {verdict.main.name} above that of", "difference", "low", "high", "p")
    return table(header, rows)
