"""Tag schemes as data, and the way between tags and spans.

A scheme is its set of prefixes; what a sequence of tags means follows from two questions that one
table answers for all schemes: does an entity begin here, does it go on here?
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """Words `start` to `end` (exclusive) carry `label`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Scheme:
    """How spans are written as tags: the prefix of a span's first, middle, last and only word."""

    name: str
    prefixes: frozenset[str]
    first: str
    middle: str
    last: str
    only: str


IOB1 = Scheme("IOB1", frozenset("IB"), first="I", middle="I", last="I", only="I")
"""B only where an entity follows another of its class without a gap."""
IOB2 = Scheme("IOB2", frozenset("IB"), first="B", middle="I", last="I", only="B")
IOBES = Scheme("IOBES", frozenset("IBES"), first="B", middle="I", last="E", only="S")
SCHEMES = {scheme.name: scheme for scheme in (IOB1, IOB2, IOBES)}


def split_tag(tag: str, scheme: Scheme = IOBES) -> tuple[str, str]:
    """`"B-PER"` -> `("B", "PER")`, `"O"` -> `("O", "")`.

    Raises ValueError for a tag that is not in the scheme.
    """
    if tag == "O":
        return "O", ""
    prefix, dash, label = tag.partition("-")
    if not dash or not label or prefix not in scheme.prefixes:
        known = ", ".join(f"{p}-CLASS" for p in sorted(scheme.prefixes))
        raise ValueError(f"{tag!r} is not a tag of {scheme.name} (O, {known})")
    return prefix, label


def to_spans(tags: Sequence[str], scheme: Scheme = IOBES) -> list[Span]:
    """Spans that a tag sequence means, in order.

    Reads every scheme that `scheme` contains (IOBES contains the others) and repairs broken
    sequences as conlleval does: an I or E that continues nothing begins an entity, a change of class
    begins one, whatever is open at the end is closed.

    Raises ValueError for a tag that is not in the scheme.
    """
    spans: list[Span] = []
    start, open_label, closed = 0, "", True
    for position, tag in enumerate(tags):
        prefix, label = split_tag(tag, scheme)
        goes_on = prefix in "IE" and label == open_label and not closed
        if not goes_on:
            if not closed:
                spans.append(Span(start, position, open_label))
            start, open_label, closed = position, label, prefix == "O"
        if not closed and prefix in "ES":
            spans.append(Span(start, position + 1, open_label))
            closed = True
    if not closed:
        spans.append(Span(start, len(tags), open_label))
    return spans


def to_tags(spans: Iterable[Span], length: int, scheme: Scheme = IOB2) -> list[str]:
    """Tags of `length` words that write the spans in `scheme`.

    Raises ValueError for a span that is empty, leaves the sentence or overlaps another.
    """
    tags = ["O"] * length
    previous = Span(0, 0, "")
    for span in sorted(spans):
        start, end, label = span
        if not previous.end <= start < end <= length:
            raise ValueError(
                f"span {start}..{end} {label} is empty, overlaps another or is not within 0..{length}"
            )
        touches = scheme is IOB1 and previous.end == start and previous.label == label
        if end - start == 1:
            tags[start] = f"{'B' if touches else scheme.only}-{label}"
        else:
            tags[start] = f"{'B' if touches else scheme.first}-{label}"
            tags[start + 1 : end - 1] = [f"{scheme.middle}-{label}"] * (end - start - 2)
            tags[end - 1] = f"{scheme.last}-{label}"
        previous = span
    return tags


def repair(tags: Sequence[str], scheme: Scheme = IOB2) -> list[str]:
    """The same entities, written correctly in `scheme`, whichever scheme the tags came in."""
    return to_tags(to_spans(tags), len(tags), scheme)
