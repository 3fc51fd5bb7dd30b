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
    offsets = columns.lists(source).offsets
    words = np.arange(offsets[-1])
    if entities is not None:
        words = np.flatnonzero(_inside(entities.offsets, entities.pairs("start", "end"), offsets))
        chosen = pc.list_flatten(source.combine_chunks()).take(pa.array(words))
        bounds = pa.array(np.searchsorted(words, offsets), pa.int32())
        source = pa.chunked_array([pa.ListArray.from_arrays(bounds, chosen)])
    (wanted, there), distinct = columns.encode(source, target)
    sides = wanted.offsets, wanted.fields["code"], there.offsets, there.fields["code"]
    return Found(*_links(offsets, words, *sides, forms(distinct), min_similarity, min_letters))


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
    offsets: Array, words: Array, source_offsets: Array, source: Array, target_offsets: Array,
    target: Array, known: Forms, min_similarity: float, min_letters: int,
) -> Any:  # fmt: skip
    """`source` is of the words to link, which are at `words` in rows of all, at `offsets`."""
    found = np.zeros(len(offsets), np.int64)
    sources, targets = np.empty(len(words), np.int32), np.empty(len(words), np.int32)
    similarities = np.empty(len(words))
    costs = np.empty(len(known.text) + 1, np.int64)
    filled = 0
    for row in range(len(offsets) - 1):
        there = target[target_offsets[row] : target_offsets[row + 1]]
        for index in range(source_offsets[row], source_offsets[row + 1]):
            form = source[index]
            length = known.bounds[form + 1] - known.bounds[form]
            if length == 0:
                continue
            least = min_similarity
            if length < min_letters or known.letters[form] < 1 << 10:
                least = 1.0
            i = words[index] - offsets[row]
            place = (i + 0.5) / (offsets[row + 1] - offsets[row])
            j, best = _most_similar(known, form, there, place, least, costs)
            if best > 0:
                sources[filled], targets[filled], similarities[filled] = i, j, best
                filled += 1
        found[row + 1] = filled
    return found, sources[:filled], targets[:filled], similarities[:filled]


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
    return int(costs[len(other)])
