"""Arrow columns and flat arrays say the same thing."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from projner import columns, record

WORDS = st.lists(st.lists(st.text(max_size=4), max_size=4), max_size=5)


def words_column(rows: list[list[str] | None], *cuts: int) -> pa.ChunkedArray:
    array = pa.array([["cut off"], *rows], pa.list_(pa.string())).slice(1)
    bounds = [0, *cuts, len(array)]
    chunks = [array[first:stop] for first, stop in pairwise(bounds)]
    return pa.chunked_array(chunks, array.type)


def test_null_rows_are_empty_and_slices_are_respected() -> None:
    values = [
        [{"source": 9, "target": 9, "score": 1.0}],
        None,
        [],
        [{"source": 1, "target": 2, "score": 1.0}, {"source": 3, "target": 4, "score": 0.5}],
    ]
    column = pa.chunked_array([pa.array(values, pa.list_(record.LINK)).slice(1)])
    flat = columns.lists(column, ["source", "target", "score"])
    assert flat.offsets.tolist() == [0, 0, 0, 2]
    assert flat.pairs("source", "target").tolist() == [[1, 2], [3, 4]]
    assert flat.fields["score"].tolist() == [1.0, 0.5]
    assert flat.rows()[2] == slice(0, 2)


def test_no_lists() -> None:
    nothing = columns.no_lists(2, ["source", "target"])
    assert nothing.rows() == [slice(0, 0)] * 2
    assert nothing.pairs("source", "target").shape == (0, 2)


@given(WORDS, WORDS)
def test_encoded_words_are_the_words(one: list[list[str]], other: list[list[str]]) -> None:
    given = [[*one, None], other]
    coded, distinct = columns.encode(words_column(given[0], len(one) // 2), words_column(other))
    texts = distinct.to_pylist()
    assert len(set(texts)) == len(texts)
    for rows, column in zip(given, coded, strict=True):
        words = [texts[code] for code in column.fields["code"]]
        assert [words[row] for row in column.rows()] == [row or [] for row in rows]


@given(st.lists(st.text(max_size=4), max_size=6))
def test_spelt_words_are_the_words(words: list[str]) -> None:
    offsets, spelt, characters = columns.spell(pa.array(["cut off", *words]).slice(1))
    assert len(set(characters)) == len(characters)
    text = "".join(characters[number] for number in spelt)
    assert [text[first:stop] for first, stop in pairwise(offsets)] == words
