"""Surface links of a whole table at once, compiled.

The same as `surface.surface_links` gives sentence by sentence, which says what is linked and why,
and is the tests' oracle. Words are numbers here, and romanised once each. Most pairs of words are
dismissed by their lengths, or since too many letters of one do not occur in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner.columns import Lists
from projner.compiled import compiled
from projner.romanise import romanise

Array = npt.NDArray[Any]


class Forms(NamedTuple):
    """Romanised words: word w has form `form[w]`; form f is `text[offsets[f] : offsets[f + 1]]`.

    `form` and `offsets` are int64; `text` has bytes, uint8; `letters`, int64, each form's set of
    letters and digits, one bit for each.
    """

    form: Array
    offsets: Array
    text: Array
    letters: Array


class Found(NamedTuple):
    """Links, rows in order and each by source word: flat arrays, and int64 offsets (rows + 1,)."""

    offsets: Array
    source: Array
    target: Array
    similarity: Array


def forms(distinct: Sequence[str]) -> Forms:
    """The romanised forms of words."""
    encoded = pa.array(map(romanise, distinct), pa.string()).dictionary_encode()
    known = encoded.dictionary.to_pylist()
    text = np.array(bytearray("".join(known), "ascii"), np.uint8)
    offsets = np.cumsum([0, *map(len, known)])
    form = np.array(encoded.indices, np.int64)
    return Forms(form, offsets, text, _letters(text, offsets))


def links(
    source: Lists,
    target: Lists,
    known: Forms,
    entities: Lists | None,
    min_similarity: float,
    min_letters: int,
) -> Found:
    """The surface links of every row: for the words of its `entities`, or for all if that is None.

    Words come as `code`, entities as `start` and `end`. Raises IndexError for entities outside
    their sentence.
    """
    if entities is None:
        lengths = np.diff(source.offsets)
        offsets, spans = np.arange(len(lengths) + 1), np.stack([0 * lengths, lengths], 1)
    else:
        offsets, spans = entities.offsets, entities.pairs("start", "end").astype(np.int64)
    words = [np.array(column.fields["code"], np.int32) for column in (source, target)]
    sides = source.offsets, words[0], target.offsets, words[1]
    return Found(*_links(offsets, spans, *sides, known, min_similarity, min_letters))


@compiled
def _links(
    span_offsets: Array, spans: Array, source_offsets: Array, source: Array, target_offsets: Array,
    target: Array, known: Forms, min_similarity: float, min_letters: int,
) -> Any:  # fmt: skip
    rows = len(span_offsets) - 1
    longest = count = 0
    for row in range(rows):
        longest = max(longest, source_offsets[row + 1] - source_offsets[row])
        for start, end in spans[span_offsets[row] : span_offsets[row + 1]]:
            if not 0 <= start <= end <= source_offsets[row + 1] - source_offsets[row]:
                raise IndexError("an entity is outside its sentence")
            count += end - start
    wanted = np.zeros(longest, np.bool_)
    costs = np.empty(len(known.text) + 1, np.int64)
    offsets = np.zeros(rows + 1, np.int64)
    sources, targets = np.empty(count, np.int32), np.empty(count, np.int32)
    similarities = np.empty(count)
    filled = 0
    for row in range(rows):
        offsets[row + 1] = filled
        if span_offsets[row] == span_offsets[row + 1]:
            continue
        here = source[source_offsets[row] : source_offsets[row + 1]]
        there = known.form[target[target_offsets[row] : target_offsets[row + 1]]]
        for start, end in spans[span_offsets[row] : span_offsets[row + 1]]:
            wanted[start:end] = True
        for i, word in enumerate(here):
            if not wanted[i]:
                continue
            wanted[i] = False
            place = (i + 0.5) / len(here)
            j, best = _most_similar(
                known, known.form[word], there, place, min_similarity, min_letters, costs
            )
            if best > 0:
                sources[filled], targets[filled], similarities[filled] = i, j, best
                filled += 1
        offsets[row + 1] = filled
    return offsets, sources[:filled], targets[:filled], similarities[:filled]


@compiled
def _most_similar(
    known: Forms, form: int, there: Array, place: float, least: float, min_letters: int,
    costs: Array,
) -> tuple[int, float]:  # fmt: skip
    """The target word that is most similar to `form`, and of these nearest to `place`; 0 if none."""
    text = _text(known, form)
    if not len(text):
        return 0, 0.0
    if len(text) < min_letters or known.letters[form] >> 10 == 0:
        least = 1.0
    nearest, best, best_gap = 0, 0.0, 0.0
    for j, other in enumerate(there):
        similarity = 1.0
        if other != form:
            longer = max(len(text), known.offsets[other + 1] - known.offsets[other])
            # A little more, against rounding; what is too much is found out below.
            most = int((1 - least) * longer + 1e-6)
            if _at_least(known, form, other) > most:
                continue
            similarity = 1 - _distance(text, _text(known, other), most, costs) / longer
            if similarity < least:
                continue
        gap = abs((j + 0.5) / len(there) - place)
        if similarity > best or gap < best_gap:
            nearest, best, best_gap = j, similarity, gap
            least = similarity
    return nearest, best


@compiled
def _text(known: Forms, form: int) -> Array:
    return known.text[known.offsets[form] : known.offsets[form + 1]]


@compiled
def _at_least(known: Forms, form: int, other: int) -> int:
    """What the edit distance of two forms is not below, by their lengths and sets of letters."""
    least = abs(
        (known.offsets[form + 1] - known.offsets[form])
        - (known.offsets[other + 1] - known.offsets[other])
    )
    ours, theirs = known.letters[form], known.letters[other]
    for missing in (ours & ~theirs, theirs & ~ours):
        edits = 0
        while missing:
            missing &= missing - 1
            edits += 1
        least = max(least, edits)
    return least


@compiled
def _distance(one: Array, other: Array, most: int, costs: Array) -> int:
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


@compiled
def _letters(text: Array, offsets: Array) -> Array:
    """Each form's set of symbols: bits 0 to 9 for digits, then a to z."""
    letters = np.zeros(len(offsets) - 1, np.int64)
    for form in range(len(letters)):
        for symbol in text[offsets[form] : offsets[form + 1]]:
            letters[form] |= 1 << (symbol - 48 if symbol < 58 else symbol - 87)
    return letters
