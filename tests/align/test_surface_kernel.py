"""Compiled surface links against those that are made sentence by sentence."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import columns, record, stage
from projner.align import surface, surface_kernel
from projner.align.surface import SurfaceAligner, surface_links
from projner.columns import Lists
from projner.romanise import romanise
from tests.project.test_scores import read_conll

Link = tuple[int, int, float]
LEAST = [0.05, 0.3, 0.65, 0.8, 1.0]


def column(rows: Sequence[list[str]]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(rows, pa.list_(pa.string()))])


def spans_of(rows: list[list[tuple[int, int]]]) -> Lists:
    pairs = np.array([span for row in rows for span in row], np.int32).reshape(-1, 2).T
    offsets = np.cumsum([0, *map(len, rows)])
    return Lists(offsets, dict(zip(("start", "end"), pairs, strict=True)))


def at_once(
    source: Sequence[list[str]],
    target: Sequence[list[str]],
    spans: list[list[tuple[int, int]]] | None,
    least: float,
) -> list[list[Link]]:
    entities = None if spans is None else spans_of(spans)
    found = surface_kernel.links(
        column(source), column(target), entities, least, surface.MIN_LETTERS
    )
    links = list(
        zip(found.source.tolist(), found.target.tolist(), found.similarity.tolist(), strict=True)
    )
    return [links[first:stop] for first, stop in pairwise(found.offsets)]


def one_by_one(
    source: Sequence[list[str]],
    target: Sequence[list[str]],
    spans: list[list[tuple[int, int]]] | None,
    least: float,
) -> list[list[Link]]:
    wanted = spans or [None] * len(source)
    return [
        surface_links(one, other, row and [i for span in row for i in range(*span)], least)
        if row != []
        else []
        for one, other, row in zip(source, target, wanted, strict=True)
    ]


def some_pair(chance: random.Random) -> tuple[list[str], list[str]]:
    """Two sentences, in some script, of which one repeats words of the other, more or less."""
    letters = chance.choice(["abcde", "abéf,.", "12ab", "12", "АБВгде", "北京東", "Abc"])
    source = [
        "".join(chance.choices(letters, k=chance.randint(0, 9)))
        for _ in range(chance.randint(0, 9))
    ]
    target = []
    for word in chance.choices([*source, "", "abc"], k=chance.randint(0, 9)):
        for _ in range(chance.choice([0, 0, 1, 2, 3])):
            at = chance.randint(0, len(word))
            word = word[:at] + chance.choice([*letters, ""]) + word[at + chance.randint(0, 1) :]
        target.append(word)
    return source, target


def some_spans(chance: random.Random, n_words: int) -> list[tuple[int, int]]:
    bounds = [sorted(chance.choices(range(n_words + 1), k=2)) for _ in range(chance.randint(0, 3))]
    return [(start, end) for start, end in bounds]


@given(st.lists(st.text(max_size=6), max_size=6))
def test_forms_are_romanised_words(words: list[str]) -> None:
    known = surface_kernel.forms(pa.array(words, pa.string()), np.ones(len(words), bool))
    text = bytes(known.text).decode()
    found = [text[first:stop] for first, stop in pairwise(known.bounds)]
    assert found == [romanise(word) for word in words]
    order = "0123456789abcdefghijklmnopqrstuvwxyz"
    for form, letters in zip(found, known.letters.tolist(), strict=True):
        assert {order[bit] for bit in range(40) if letters >> bit & 1} == set(form)


@pytest.mark.parametrize("least", LEAST)
def test_random_sentences(least: float) -> None:
    chance = random.Random(1)
    source, target = zip(*(some_pair(chance) for _ in range(1500)), strict=True)
    spans = [some_spans(chance, len(words)) for words in source]
    expected = one_by_one(source, target, spans, least)
    assert sum(map(len, expected)) > 500
    assert at_once(source, target, spans, least) == expected
    assert at_once(source, target, None, least) == one_by_one(source, target, None, least)


@pytest.mark.parametrize("language", ["de", "es"])
def test_europarl(shared_data: Path, language: str) -> None:
    folder = shared_data / "europarl_ner"
    labelled = read_conll(folder / "en-europarl.test.conll02")
    source = [tokens for tokens, _ in labelled]
    target = [tokens for tokens, _ in read_conll(folder / f"{language}-europarl.test.conll02")]
    spans = [[(span.start, span.end) for span in entities] for _, entities in labelled]
    expected = one_by_one(source, target, spans, 0.65)
    assert at_once(source, target, spans, 0.65) == expected


@pytest.mark.parametrize("span", [(0, 3), (-1, 1), (2, 3)])
def test_entities_outside_their_sentence(span: tuple[int, int]) -> None:
    with pytest.raises(IndexError, match="outside"):
        at_once([["a"], ["a", "b"]], [["a"], ["a"]], [[], [span]], 0.65)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("rows", [0, 3])
def test_no_words(beside: bool, rows: int) -> None:
    nothing: list[list[str]] = [[] for _ in range(rows)]
    found = at_once(nothing, nothing, [[] for _ in nothing] if beside else None, 0.65)
    assert found == nothing


@pytest.mark.parametrize("beside", [True, False])
def test_the_stage_gives_the_same_for_many_rows_as_for_few(beside: bool) -> None:
    chance = random.Random(2)
    rows = []
    for _ in range(columns.MANY_ROWS + 200):
        source, target = some_pair(chance)
        spans = some_spans(chance, len(source))
        rows.append(
            {
                "source_tokens": source,
                "target_tokens": target,
                "source_entities": [
                    {"start": a, "end": b, "label": "PER", "score": 1.0} for a, b in spans
                ],
                "status": "ok",
                "status_detail": None,
            }
        )
    table = pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))
    aligner = SurfaceAligner(0.5, beside=beside)
    parts = [stage.run(aligner, table.slice(at, 300)) for at in range(0, table.num_rows, 300)]
    whole = stage.run(aligner, table)
    assert whole.schema == parts[0].schema
    assert whole.to_pylist() == pa.concat_tables(parts).to_pylist()
