"""Words read by compiled code are the words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import spelling
from projner.spelling import Characters, Rewriter

WORDS = st.lists(st.text(max_size=5), max_size=6)


def column(words: list[str], cut: int = 1) -> pa.StringArray:
    return pa.array(["cut off"] * cut + words + ["this too"] * cut, pa.string())[
        cut : len(words) + cut
    ]


def texts(words: spelling.Words) -> list[str]:
    data = words.data.tobytes()
    return [data[first:stop].decode() for first, stop in pairwise(words.bounds.tolist())]


@given(WORDS, st.integers(0, 2))
def test_words_as_they_lie_in_memory(words: list[str], cut: int) -> None:
    assert texts(spelling.words(column(words, cut))) == words


@given(WORDS)
def test_characters_are_described_once(words: list[str]) -> None:
    asked = []

    def describe(character: str) -> tuple[int]:
        asked.append(character)
        return (ord(character) + 1,)

    characters = Characters(describe, 1)
    for _ in range(2):
        numbers = characters.numbers(spelling.words(column(words)))
        for character in set("".join(words)):
            assert numbers[ord(character)] == ord(character) + 1
    assert sorted(asked) == sorted({*map(chr, range(0x80)), *"".join(words)})


@given(WORDS)
def test_sums_and_firsts(words: list[str]) -> None:
    def describe(character: str) -> tuple[int, int, int]:
        point = ord(character)
        return point % 7, point % 5, point % 3

    chosen = np.arange(len(words)) % 3 != 2
    characters = Characters(describe, 3)
    found = spelling.sums_and_firsts(spelling.words(column(words)), chosen, characters, 9)
    read = [word if is_chosen else "" for word, is_chosen in zip(words, chosen, strict=True)]
    for word, *numbers in zip(read, *(each.tolist() for each in found), strict=True):
        first = next((character for character in word if ord(character) % 3), None)
        others = describe(first)[1:] if first else (9, 0)
        assert numbers == [sum(ord(character) % 7 for character in word), *others]


@given(WORDS)
def test_words_rewritten(words: list[str]) -> None:
    def rewrite(character: str) -> str:
        return "" if character == "a" else f"<{ord(character)}>"

    rewriter = Rewriter(rewrite)
    for _ in range(2):
        for chosen in (np.ones(len(words), bool), np.arange(len(words)) % 2 == 0):
            assert texts(rewriter(spelling.words(column(words)), chosen)) == [
                "".join(map(rewrite, word)) if is_chosen else ""
                for word, is_chosen in zip(words, chosen, strict=True)
            ]


@pytest.mark.parametrize("text", ["", "\x00", "a\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff"])
def test_every_length_of_a_character(text: str) -> None:
    seen: list[str] = []
    characters = Characters(lambda character: seen.append(character) or (0,), 1)  # type: ignore[func-returns-value]
    characters.numbers(spelling.words(column([text])))
    assert set(seen) == {*map(chr, range(0x80)), *text}
