"""Markers around entities, which a translation carries along: put in, read back, told apart.

Square brackets as EasyProject has them (Chen et al. 2023, arXiv 2211.15613), or XML tags with a letter
for each entity as LabelPigeon has them (arXiv 2603.12021). What comes back may lack markers, or have
them twice, crossed, nested, empty or in the midst of a word: only what leaves no doubt is read.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from rapidfuzz.distance import Indel

from projner.languages import Language
from projner.words import split

Kind = Literal["brackets", "xml"]

MIN_SIMILARITY = 0.5
"""A span in brackets may be an entity's if it is more similar than this to one of its forms."""

# Also as full-width characters, which translations into Chinese and Japanese have.
_BRACKET = re.compile(r"(?P<open>[\[\uFF3B]\s*)|(?P<close>\s*[\]\uFF3D])")
_TAG = re.compile(r"[<\uFF1C]\s*(?P<slash>/?)\s*(?P<name>[a-zA-Z]{1,2})\s*[>\uFF1E]")
_ROUND = str.maketrans("[]\uff3b\uff3d", "()()")


class Span(NamedTuple):
    """Words `start` to `end` (exclusive) between a marker and its counterpart."""

    start: int
    end: int
    name: str
    """The tag's letter; nothing for brackets."""


class Reading(NamedTuple):
    """A marked translation without its markers, and what they say beyond doubt."""

    text: str
    tokens: list[str]
    spans: list[Span]
    """In reading order, none overlapping another."""
    whole: bool
    """Whether every marker is one of the spans'."""


class _Marker(NamedTuple):
    opens: bool
    name: str
    place: int
    """In characters of the text without markers."""


def letter(number: int) -> str:
    """The name of entity `number`: a, b, ..., z, aa, ab, ..."""
    first, last = divmod(number, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)


def around(kind: Kind, number: int = 0) -> tuple[str, str]:
    """What stands before and after entity `number`."""
    if kind == "brackets":
        return "[ ", " ]"
    return f"<{letter(number)}>", f"</{letter(number)}>"


def insert(text: str, spans: Sequence[tuple[int, int]], kind: Kind) -> str:
    """`text` with markers around spans of characters (start, end exclusive), none overlapping.

    Span n gets the letter of number n. What looks like a marker in the text itself becomes a round
    bracket, lest it be read as one.

    Raises ValueError for spans that overlap.
    """
    plain = text.translate(_ROUND) if kind == "brackets" else _TAG.sub(_in_round_brackets, text)
    parts, done = [], 0
    for number in sorted(range(len(spans)), key=lambda n: spans[n]):
        start, end = spans[number]
        if start < done:
            raise ValueError(f"the entity at characters {start} to {end} overlaps another")
        opening, closing = around(kind, number)
        parts += [plain[done:start], opening, plain[start:end], closing]
        done = end
    return "".join([*parts, plain[done:]])


def read(marked: str, language: Language, kind: Kind) -> Reading:
    """The text and words of a marked translation, and the spans that its markers leave no doubt of.

    A span counts if nothing but its own two markers bears on it: between them there is a word and
    no other marker; of brackets, none open stands before it and none closes after it that could be
    its own; of tags, there are no others of its letter, and none whose span it lies in. Where a marker
    stands in the midst of a word, the span has all of the word; spans that share one are dropped.
    """
    text, markers = _without_markers(marked, kind)
    bounds = split(text, language)
    pairs = _bracketed(markers) if kind == "brackets" else _tagged(markers)
    found = [_words(bounds, opening, closing) for opening, closing in pairs]
    found = [span for span in found if span.start < span.end]
    covered = Counter(word for span in found for word in range(span.start, span.end))
    spans = [s for s in found if all(covered[word] == 1 for word in range(s.start, s.end))]
    tokens = [text[start:end] for start, end in bounds]
    return Reading(text, tokens, sorted(spans), 2 * len(spans) == len(markers))


def match(
    found: Sequence[str], forms: Sequence[Iterable[str]], labels: Sequence[str]
) -> list[tuple[int, int, float]]:
    """Which text between brackets is which entity, one to one, by the greatest summed similarity.

    Similarity is 1 - (insertions and deletions / characters of both), ignoring case and spaces, to the most
    similar form of the entity: its own translation, or the entity itself, for names are copied.

    Args:
        found: the texts between brackets.
        forms: what each entity may look like.
        labels: the entities' classes. A text whose class another choice, as good, would change is
            left out.

    Returns:
        (text, entity, similarity) of each pair above `MIN_SIMILARITY`, by text.
    """
    similar = np.zeros((len(found), len(forms)))
    for row, span in zip(similar, found, strict=True):
        row[:] = [max((_similarity(span, form) for form in each), default=0) for each in forms]
    similar[similar <= MIN_SIMILARITY] = 0
    pairs = _assign(similar)
    total = sum(similar[pair] for pair in pairs)
    kept = []
    for text, entity in pairs:
        others = similar.copy()
        others[text, [label == labels[entity] for label in labels]] = 0
        if sum(others[pair] for pair in _assign(others)) < total - 1e-9:
            kept.append((text, entity, float(similar[text, entity])))
    return kept


def trim(tokens: Sequence[str], span: Span, entity: str) -> Span:
    """`span` without punctuation at an edge where the entity has none: `[ Nairobi , ]`."""
    start, end = span.start, span.end
    while start < end - 1 and entity[:1].isalnum() and not _has_letters(tokens[start]):
        start += 1
    while start < end - 1 and entity[-1:].isalnum() and not _has_letters(tokens[end - 1]):
        end -= 1
    return span._replace(start=start, end=end)


def _without_markers(marked: str, kind: Kind) -> tuple[str, list[_Marker]]:
    marked = " ".join(marked.split())
    text, done = "", 0
    markers: list[_Marker] = []
    for each in (_BRACKET if kind == "brackets" else _TAG).finditer(marked):
        text = _joined(text, marked[done : each.start()])
        opens = bool(each["open"]) if kind == "brackets" else not each["slash"]
        name = "" if kind == "brackets" else each["name"].lower()
        markers.append(_Marker(opens, name, len(text)))
        done = each.end()
    return _joined(text, marked[done:]).rstrip(), markers


def _joined(text: str, piece: str) -> str:
    """Of the white space on both sides of a marker, one part was there for the marker."""
    return text + (piece.lstrip() if text[-1:].isspace() or not text else piece)


def _bracketed(markers: Sequence[_Marker]) -> list[tuple[_Marker, _Marker]]:
    framed = [_Marker(False, "", 0), *markers, _Marker(True, "", 0)]
    windows = zip(*(framed[n:] for n in range(4)), strict=False)
    return [(b, c) for a, b, c, d in windows if (a.opens, b.opens, c.opens, d.opens) == _ALONE]


_ALONE = (False, True, False, True)


def _tagged(markers: Sequence[_Marker]) -> list[tuple[_Marker, _Marker]]:
    counts = Counter(marker.name for marker in markers)
    places: dict[str, list[int]] = {}
    for number, marker in enumerate(markers):
        places.setdefault(marker.name, []).append(number)
    ranges = [(p[0], p[1]) for p in places.values() if len(p) == 2 and markers[p[0]].opens]
    pairs = []
    for number, (first, second) in enumerate(itertools.pairwise(markers)):
        own = first.opens and not second.opens and first.name == second.name
        inside = any(a < number and number + 1 < b for a, b in ranges)
        if own and counts[first.name] == 2 and not inside:
            pairs.append((first, second))
    return pairs


def _words(bounds: Sequence[tuple[int, int]], opening: _Marker, closing: _Marker) -> Span:
    """The words between two markers, and those that the markers stand in."""
    inside = [n for n, (s, e) in enumerate(bounds) if s < closing.place and e > opening.place]
    return Span(inside[0], inside[-1] + 1, opening.name) if inside else Span(0, 0, opening.name)


def _assign(similar: np.ndarray) -> list[tuple[int, int]]:
    # Here, since it takes a while to load.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(similar, maximize=True)
    return [(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if similar[i, j]]


def _similarity(text: str, form: str) -> float:
    # Words are parted by spaces, their translation perhaps not.
    return Indel.normalized_similarity(*("".join(each.casefold().split()) for each in (text, form)))


def _has_letters(token: str) -> bool:
    return any(character.isalnum() for character in token)


def _in_round_brackets(tag: re.Match[str]) -> str:
    return f"({tag.group()[1:-1]})"
