"""Where labels are right and wrong: by length, by what was seen in training, by class and kind of error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from projner.evaluate.f1 import Figures, Labelled
from projner.tags import Span, to_spans

LENGTHS = ("1", "2", "3", "4+")
"""Words of an entity."""
BOUNDARY = "(boundary)"
"""An entity that shares words with one of the other side, and has the limits of none."""
MISSED = "(missed)"
"""A gold entity of whose words none was labelled."""
SPURIOUS = "(spurious)"
"""A predicted entity of whose words none is in the gold's entities."""

Name = tuple[tuple[str, ...], str]
"""The words of an entity, as they are written, and its class."""


@dataclass(frozen=True)
class Tally:
    """Entities of a kind: those that both sides have, those predicted, and those in the gold."""

    right: int
    predicted: int
    gold: int

    @property
    def figures(self) -> Figures:
        return Figures.of(self.right, self.predicted, self.gold)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self.figures), "right": self.right, "predicted": self.predicted}


@dataclass(frozen=True)
class Details:
    """What the figures of an evaluation are made of. Each table adds up to all entities."""

    lengths: dict[str, Tally]
    """By `LENGTHS`: of a gold entity its own, of a predicted one likewise."""
    seen: dict[str, Tally] | None
    """`seen`: entities that the training data have, word for word, with the same class; `unseen`: the
    others. None where no training data are known."""
    confusion: dict[str, dict[str, int]]
    """Entities by gold class (row) and predicted class (column) where both sides have one with the
    same limits. The others of a gold class are under `BOUNDARY` and `MISSED`, those of a predicted
    class in the rows `BOUNDARY` and `SPURIOUS`."""

    def as_json(self) -> dict[str, Any]:
        return {
            "lengths": {name: tally.as_json() for name, tally in self.lengths.items()},
            "seen": self.seen and {name: tally.as_json() for name, tally in self.seen.items()},
            "confusion": self.confusion,
        }


def details(
    gold: Labelled, predicted: Sequence[Sequence[str]], known: Collection[Name] | None = None
) -> Details:
    """Take apart what `predicted`, IOB2 tags of the sentences of `gold`, has right and wrong.

    `known` are the names in the training data.
    """
    pairs = [
        (words, to_spans(truth), to_spans(guess))
        for words, truth, guess in zip(gold.tokens, gold.tags, predicted, strict=True)
    ]

    def kind_of_length(words: Sequence[str], span: Span) -> str:
        return LENGTHS[min(span.end - span.start, len(LENGTHS)) - 1]

    def kind_of_name(words: Sequence[str], span: Span) -> str:
        return "seen" if known and _name(words, span) in known else "unseen"

    return Details(
        _tallied(pairs, LENGTHS, kind_of_length),
        None if known is None else _tallied(pairs, ("seen", "unseen"), kind_of_name),
        _confusion([(truth, guess) for _, truth, guess in pairs]),
    )


def names(labelled: Labelled) -> Iterator[Name]:
    """The entities of labelled sentences, by their words and class."""
    for words, tags in zip(labelled.tokens, labelled.tags, strict=True):
        for span in to_spans(tags):
            yield _name(words, span)


def _name(words: Sequence[str], span: Span) -> Name:
    return tuple(words[span.start : span.end]), span.label


def _tallied(
    pairs: Sequence[tuple[Sequence[str], list[Span], list[Span]]],
    kinds: Sequence[str],
    kind: Callable[[Sequence[str], Span], str],
) -> dict[str, Tally]:
    right: Counter[str] = Counter()
    guessed: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for words, truth, guess in pairs:
        both = {*truth} & {*guess}
        right.update(kind(words, span) for span in both)
        guessed.update(kind(words, span) for span in guess)
        expected.update(kind(words, span) for span in truth)
    return {name: Tally(right[name], guessed[name], expected[name]) for name in kinds}


def _confusion(pairs: Sequence[tuple[list[Span], list[Span]]]) -> dict[str, dict[str, int]]:
    found: Counter[tuple[str, str]] = Counter()
    for truth, guess in pairs:
        by_limits = {span[:2]: span.label for span in guess}
        limits = {span[:2] for span in truth}
        found.update(
            (span.label, by_limits.get(span[:2]) or (BOUNDARY if _touches(span, guess) else MISSED))
            for span in truth
        )
        found.update(
            (BOUNDARY if _touches(span, truth) else SPURIOUS, span.label)
            for span in guess
            if span[:2] not in limits
        )
    classes = sorted({name for pair in found for name in pair} - {BOUNDARY, MISSED, SPURIOUS})
    rows = {
        name: {other: found[name, other] for other in (*classes, BOUNDARY, MISSED)}
        for name in classes
    }
    return rows | {
        name: {other: found[name, other] for other in classes} for name in (BOUNDARY, SPURIOUS)
    }


def _touches(span: Span, others: Sequence[Span]) -> bool:
    return any(span.start < other.end and other.start < span.end for other in others)
