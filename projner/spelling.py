"""Words read character by character in compiled loops, from the bytes of Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner.compiled import compiled

Array = npt.NDArray[Any]

POINTS = 0x110000
"""Code points of Unicode."""


class Words(NamedTuple):
    """Words in UTF-8: word w is `data[bounds[w] : bounds[w + 1]]`."""

    bounds: Array
    data: Array


class Characters:
    """Numbers of characters, asked for when one is met for the first time."""

    def __init__(self, describe: Callable[[str], Sequence[int]], size: int) -> None:
        """`describe` gives the `size` numbers of a character, int32 each."""
        self._describe = describe
        self._known = np.zeros(POINTS, np.bool_)
        self._numbers = np.zeros((POINTS, size), np.int32)

    def numbers(self, words: Words) -> Array:
        """int32 (code points, size), right for ASCII and the characters of `words` at least."""
        if not self._known[0]:
            self._learn(range(0x80))
        text = words.data[words.bounds[0] : words.bounds[-1]]
        # Lead bytes, for most letters are ASCII and most others known.
        points = _points(text, np.flatnonzero(text >= 0xC0))
        self._learn(np.unique(points[~self._known[points]]).tolist())
        return self._numbers

    def _learn(self, points: Iterable[int]) -> None:
        for point in points:
            self._numbers[point] = self._describe(chr(point))
            self._known[point] = True


class Rewriter:
    """Words rewritten character by character, in ASCII."""

    def __init__(self, rewrite: Callable[[str], str]) -> None:
        self._rewrite = rewrite
        self._text = bytearray()
        self._most = self._most_ascii = 0
        self._characters = Characters(self._describe, 2)

    def _describe(self, character: str) -> tuple[int, int]:
        first = len(self._text)
        self._text += self._rewrite(character).encode("ascii")
        length = len(self._text) - first
        self._most = max(self._most, length)
        if character.isascii():
            self._most_ascii = max(self._most_ascii, length)
        return first, len(self._text)

    def __call__(self, words: Words, chosen: Array) -> Words:
        """The words rewritten, those that are not `chosen` (bool, one per word) as nothing."""
        numbers = self._characters.numbers(words)
        text = np.frombuffer(bytes(self._text), np.uint8)
        held = words.data[words.bounds[0] : words.bounds[-1]]
        room = len(held) * self._most_ascii + int((held >= 0xC0).sum()) * self._most
        return Words(*_rewritten(words.bounds, words.data, chosen, numbers, text, room))


def words(array: pa.StringArray) -> Words:
    """The bytes of strings, none of them null, as they lie in memory."""
    _, bounds, data = array.buffers()
    if not len(array):
        return Words(np.zeros(1, np.int32), np.empty(0, np.uint8))
    first, count = array.offset, len(array) + 1
    held = np.frombuffer(bounds, np.int32, count, 4 * first)
    return Words(held, np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8))


def sums_and_firsts(
    words: Words, chosen: Array, characters: Characters, otherwise: int
) -> tuple[Array, ...]:
    """Of each `chosen` word (bool, one per word) three numbers, int32, from those of its characters.

    The sum of the first ones, and the second and third of the first character whose third is not 0;
    `otherwise` and 0 where there is none.
    """
    numbers = characters.numbers(words)
    return tuple(_forms(words.bounds, words.data, chosen, numbers, otherwise))


@compiled
def _decode(data: Array, at: int) -> tuple[int, int]:
    """The code point that begins at a byte, and where the next one does."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, at + 1
    point, more = lead & 0x1F, 1
    if lead >= 0xE0:
        point, more = (lead & 0x0F, 2) if lead < 0xF0 else (lead & 0x07, 3)
    for after in range(at + 1, at + 1 + more):
        point = point << 6 | np.int64(data[after] & 0x3F)
    return point, at + 1 + more


@compiled
def _points(data: Array, leads: Array) -> Array:
    points = np.empty(len(leads), np.int64)
    for index, at in enumerate(leads):
        points[index], _ = _decode(data, at)
    return points


@compiled
def _forms(bounds: Array, data: Array, chosen: Array, numbers: Array, otherwise: int) -> Any:
    count = len(bounds) - 1
    sums, seconds = np.zeros(count, np.int32), np.empty(count, np.int32)
    thirds = np.zeros(count, np.int32)
    for word in range(count):
        total, second, third = 0, otherwise, 0
        if chosen[word]:
            at, end = np.int64(bounds[word]), np.int64(bounds[word + 1])
            while at < end:
                point, at = _decode(data, at)
                total += numbers[point, 0]
                if third == 0 and numbers[point, 2] != 0:
                    second, third = numbers[point, 1], numbers[point, 2]
        sums[word], seconds[word], thirds[word] = total, second, third
    return sums, seconds, thirds


@compiled
def _rewritten(
    bounds: Array, data: Array, chosen: Array, numbers: Array, text: Array, room: int
) -> Any:
    new = np.zeros(len(bounds), np.int64)
    rewritten = np.empty(room, np.uint8)
    filled = 0
    for word in range(len(bounds) - 1):
        if chosen[word]:
            at, end = np.int64(bounds[word]), np.int64(bounds[word + 1])
            while at < end:
                point, at = _decode(data, at)
                for place in range(numbers[point, 0], numbers[point, 1]):
                    rewritten[filled] = text[place]
                    filled += 1
        new[word + 1] = filled
    return new, rewritten[:filled]
