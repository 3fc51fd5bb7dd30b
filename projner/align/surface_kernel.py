"""Surface links of a whole table at once, compiled.

The same as `surface.surface_links` gives sentence by sentence, which says what is linked and why,
and is the tests' oracle. Most pairs of words are dismissed by their lengths, or since too many
letters of one do not occur in the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, spelling
from projner.columns import Lists
from projner.compiled import compiled
from projner.romanise import romanise

Array = npt.NDArray[Any]


class Forms(NamedTuple):
    """Romanised words, in ASCII: that of word w is `text[bounds[w] : bounds[w + 1]]`.

    `letters` has each word's set of symbols: bits 0 to 9 for the digits, then a to z.
    """

    bounds: Array
    text: Array
    letters: Array


class Found(NamedTuple):
    """Links, by row and source word: flat arrays, and offsets (rows + 1,) of each row's."""

    offsets: Array
    source: Array
    target: Array
    similarity: Array


def links(
    source: pa.ChunkedArray,
    target: pa.ChunkedArray,
    entities: Lists | None,
    min_similarity: float,
    min_letters: int,
) -> Found:
    """The surface links of every row: for the words of its `entities`, or for all if that is None.

    `source` and `target` are columns of words; entities have `start` and `end`. Raises IndexError
    for one that is outside its sentence.
    """
    offsets, there = columns.lists(source).offsets, columns.lists(target).offsets
    wanted = np.ones(offsets[-1], np.bool_)
    if entities is not None:
        wanted = _inside(entities.offsets, entities.pairs("start", "end"), offsets)
    before = np.concatenate([[0], np.cumsum(wanted)])[offsets]
    compared = np.repeat(np.diff(before) > 0, np.diff(there))
    one = forms(pc.list_flatten(source.combine_chunks()), wanted)
    other = forms(pc.list_flatten(target.combine_chunks()), compared)
    return Found(*_links(offsets, one, there, other, min_similarity, min_letters, before[-1]))


_ROMANISED = spelling.Rewriter(romanise)
_BITS = np.zeros(128, np.int64)
"""The set of each symbol alone."""
for _bit, _symbol in enumerate(b"0123456789abcdefghijklmnopqrstuvwxyz"):
    _BITS[_symbol] = 1 << _bit


def forms(words: pa.StringArray, chosen: Array) -> Forms:
    """The forms of the words that are `chosen` (bool, one per word), empty for the others.

    `romanise` goes by character.
    """
    bounds, text = _ROMANISED(spelling.words(words), chosen)
    return Forms(bounds, text, _letters(bounds, text, _BITS))


@compiled
def _letters(bounds: Array, text: Array, bits: Array) -> Array:
    letters = np.empty(len(bounds) - 1, np.int64)
    for word in range(len(letters)):
        held = 0
        for place in range(bounds[word], bounds[word + 1]):
            held |= bits[text[place]]
        letters[word] = held
    return letters


@compiled
def _inside(span_offsets: Array, spans: Array, offsets: Array) -> Array:
    """Which words are inside a span of their row."""
    inside = np.zeros(offsets[-1], np.bool_)
    for row in range(len(offsets) - 1):
        for start, end in spans[span_offsets[row] : span_offsets[row + 1]]:
            if not 0 <= start <= end <= offsets[row + 1] - offsets[row]:
                raise IndexError("an entity is outside its sentence")
            inside[offsets[row] + start : offsets[row] + end] = True
    return inside


@compiled
def _links(
    source_offsets: Array, source: Forms, target_offsets: Array, target: Forms,
    min_similarity: float, min_letters: int, most: int,
) -> Any:  # fmt: skip
    """Links of the source words that have a form, `most` at most."""
    found = np.zeros(len(source_offsets), np.int64)
    sources, targets = np.empty(most, np.int32), np.empty(most, np.int32)
    similarities = np.empty(most)
    longest = 0
    for word in range(len(target.letters)):
        longest = max(longest, target.bounds[word + 1] - target.bounds[word])
    costs = np.empty(longest + 1, np.int64)
    filled = 0
    for row in range(len(source_offsets) - 1):
        begin, end = source_offsets[row], source_offsets[row + 1]
        first, stop = target_offsets[row], target_offsets[row + 1]
        for form in range(begin, end):
            length = source.bounds[form + 1] - source.bounds[form]
            if length == 0:
                continue
            least = min_similarity
            if length < min_letters or source.letters[form] < 1 << 10:
                least = 1.0
            place = (form - begin + 0.5) / (end - begin)
            j, best = _most_similar(source, form, target, first, stop, place, least, costs)
            if best > 0:
                sources[filled], targets[filled] = form - begin, j
                similarities[filled] = best
                filled += 1
        found[row + 1] = filled
    return found, sources[:filled], targets[:filled], similarities[:filled]


@compiled
def _most_similar(
    source: Forms, form: int, target: Forms, first: int, stop: int, place: float, least: float,
    costs: Array,
) -> tuple[int, float]:  # fmt: skip
    """Of the target words from `first` to `stop`, the most similar one, and of these that nearest to
    `place`.

    Its index, from `first`, and its similarity, 0 if all are below `least`.
    """
    text = source.text[source.bounds[form] : source.bounds[form + 1]]
    letters = source.letters[form]
    nearest, best, best_gap = 0, 0.0, 0.0
    for other in range(first, stop):
        length = target.bounds[other + 1] - target.bounds[other]
        longer = max(len(text), length)
        # A little more, against rounding; what is too much is found out below.
        most = (1 - least) * longer + 1e-6
        if (
            abs(len(text) - length) > most
            or _size(letters & ~target.letters[other]) > most
            or _size(target.letters[other] & ~letters) > most
        ):
            continue
        similar = target.text[target.bounds[other] : target.bounds[other + 1]]
        similarity = 1 - _distance(text, similar, most, costs) / longer
        gap = abs((other - first + 0.5) / (stop - first) - place)
        if similarity >= least and (similarity > best or gap < best_gap):
            nearest, best, best_gap = other - first, similarity, gap
            least = similarity
    return nearest, best


@compiled
def _size(letters: int) -> int:
    """How many a set has: its bits counted in pairs, fours and eights, then summed up."""
    letters -= letters >> 1 & 0x5555555555
    letters = (letters & 0x3333333333) + (letters >> 2 & 0x3333333333)
    letters = letters + (letters >> 4) & 0x0F0F0F0F0F
    return int(letters * 0x0101010101 >> 32 & 0xFF)


@compiled
def _distance(one: Array, other: Array, most: float, costs: Array) -> int:
    """The edit distance of two words, or any number above `most` if it is larger than that."""
    for j in range(len(other) + 1):
        costs[j] = j
    for i, letter in enumerate(one):
        diagonal, costs[0] = costs[0], i + 1
        least = i + 1
        for j in range(len(other)):
            cost = min(diagonal + (letter != other[j]), costs[j] + 1, costs[j + 1] + 1)
            diagonal, costs[j + 1] = costs[j + 1], cost
            least = min(least, cost)
        if least > most:
            return least
    return int(costs[len(other)])
