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

from projner import columns
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
    (source_offsets, source_words), (offsets, words) = columns.words(source), columns.words(target)
    wanted = np.arange(len(source_words))
    if entities is not None:
        pairs = entities.pairs("start", "end")
        wanted = np.flatnonzero(_inside(entities.offsets, pairs, source_offsets))
        source_words = source_words.take(pa.array(wanted))
    (source_codes, codes), distinct = columns.encode(source_words, words)
    sides = source_offsets, wanted, source_codes, offsets, codes
    return Found(*_links(*sides, forms(distinct), min_similarity, min_letters))


def forms(words: pa.StringArray) -> Forms:
    """The forms of words; `romanise` goes by character."""
    offsets, spelt, characters = columns.spell(words)
    romanised = [romanise(character) for character in characters]
    bounds = np.cumsum([0, *map(len, romanised)])
    alphabet = np.array(bytearray("".join(romanised), "ascii"), np.uint8)
    return Forms(*_forms(offsets, spelt, bounds, alphabet))


@compiled
def _forms(offsets: Array, spelt: Array, bounds: Array, alphabet: Array) -> Any:
    forms = np.zeros(len(offsets), np.int64)
    for word in range(len(offsets) - 1):
        forms[word + 1] = forms[word]
        for character in spelt[offsets[word] : offsets[word + 1]]:
            forms[word + 1] += bounds[character + 1] - bounds[character]
    text = np.empty(forms[-1], np.uint8)
    letters = np.zeros(len(offsets) - 1, np.int64)
    filled = 0
    for word in range(len(letters)):
        for character in spelt[offsets[word] : offsets[word + 1]]:
            for symbol in alphabet[bounds[character] : bounds[character + 1]]:
                text[filled] = symbol
                filled += 1
                letters[word] |= 1 << (symbol - 48 if symbol < 58 else symbol - 87)
    return forms, text, letters


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
    source_offsets: Array, wanted: Array, source: Array, target_offsets: Array, target: Array,
    known: Forms, min_similarity: float, min_letters: int,
) -> Any:  # fmt: skip
    """`source` has the words at `wanted`, which are in order, and `target` all words."""
    sources, targets = np.empty(len(wanted), np.int32), np.empty(len(wanted), np.int32)
    similarities = np.empty(len(wanted))
    offsets = np.zeros(len(source_offsets), np.int64)
    costs = np.empty(len(known.text) + 1, np.int64)
    filled = row = 0
    for index, word in enumerate(wanted):
        while word >= source_offsets[row + 1]:
            row += 1
            offsets[row] = filled
        form = source[index]
        length = known.bounds[form + 1] - known.bounds[form]
        if length == 0:
            continue
        least = min_similarity
        if length < min_letters or known.letters[form] < 1 << 10:
            least = 1.0
        i = word - source_offsets[row]
        place = (i + 0.5) / (source_offsets[row + 1] - source_offsets[row])
        there = target[target_offsets[row] : target_offsets[row + 1]]
        j, best = _most_similar(known, form, there, place, least, costs)
        if best > 0:
            sources[filled], targets[filled], similarities[filled] = i, j, best
            filled += 1
    offsets[row + 1 :] = filled
    return offsets, sources[:filled], targets[:filled], similarities[:filled]


@compiled
def _most_similar(
    known: Forms, form: int, there: Array, place: float, least: float, costs: Array
) -> tuple[int, float]:
    """Of the words `there`, the most similar one, and of these that nearest to `place`.

    Its index and its similarity, 0 if all are below `least`.
    """
    text = known.text[known.bounds[form] : known.bounds[form + 1]]
    nearest, best, best_gap = 0, 0.0, 0.0
    for j, other in enumerate(there):
        length = known.bounds[other + 1] - known.bounds[other]
        longer = max(len(text), length)
        # A little more, against rounding; what is too much is found out below.
        most = (1 - least) * longer + 1e-6
        if (
            abs(len(text) - length) > most
            or _size(known.letters[form] & ~known.letters[other]) > most
            or _size(known.letters[other] & ~known.letters[form]) > most
        ):
            continue
        similar = known.text[known.bounds[other] : known.bounds[other + 1]]
        similarity = 1 - _distance(text, similar, most, costs) / longer
        gap = abs((j + 0.5) / len(there) - place)
        if similarity >= least and (similarity > best or gap < best_gap):
            nearest, best, best_gap = j, similarity, gap
            least = similarity
    return nearest, best


@compiled
def _size(letters: int) -> int:
    """How many a set has."""
    size = 0
    while letters:
        letters &= letters - 1
        size += 1
    return size


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
    return costs[len(other)]
