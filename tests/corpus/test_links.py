"""Links: Pharaoh lines, columns of them, and pairs in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner import config
from projner.corpus.links import Notation

Build = Callable[..., config.Corpus]
ReadAll = Callable[..., pa.Table]

SIDES = {"s": "a b c\nd\ne f\n", "t": "x y\nz\nu v w\n"}
PAIRS = [[(0, 0), (2, 1)], [], [(1, 2)]]


def pairs(table: pa.Table) -> list[list[tuple[int, int]]]:
    return [
        [(link["source"], link["target"]) for link in row] for row in table["links"].to_pylist()
    ]


def written(base: int, swap: bool) -> list[list[tuple[int, int]]]:
    return [
        [(t + base, s + base) if swap else (s + base, t + base) for s, t in row] for row in PAIRS
    ]


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("direction", ["source-target", "target-source"])
@pytest.mark.parametrize("form", ["pharaoh", "possible", "first column", "last column", "json"])
def test_every_notation_gives_the_same_links(
    corpus: Build, read_all: ReadAll, base: int, direction: str, form: str
) -> None:
    rows = written(base, direction == "target-source")
    mark = "p" if form == "possible" else "-"
    lines = [" ".join(f"{left}{mark}{right}" for left, right in row) for row in rows]
    settings = {}
    if form == "first column":
        lines = [f"{line}\t{number}-th sentence" for number, line in enumerate(lines)]
        settings = {"links_column": 0}
    elif form == "last column":
        lines = [f"{number}\tsome - text\t{line}" for number, line in enumerate(lines)]
    elif form == "json":
        lines = [json.dumps({"id": "x", "pairs": row}) for row in rows]
        settings = {"links_field": "pairs"}
    chosen = corpus(
        SIDES | {"l": "\n".join(lines) + "\n"},
        format="bitext",
        source="s",
        target="t",
        links="l",
        links_base=base,
        links_direction=direction,
        **settings,
    )
    table = read_all(chosen, chunk_rows=2)
    assert pairs(table) == PAIRS
    assert {link["score"] for row in table["links"].to_pylist() for link in row} == {1.0}


def test_scores_are_kept(corpus: Build, read_all: ReadAll) -> None:
    links = {"l": "0-0:0.25 2-1:1\n0-0:0\n0-0 1-2:.5\n"}
    table = read_all(corpus(SIDES | links, format="bitext", source="s", target="t", links="l"))
    scores = [[link["score"] for link in row] for row in table["links"].to_pylist()]
    assert scores == [[0.25, 1.0], [0.0], [1.0, 0.5]]


@pytest.mark.parametrize(
    "written", ["1", "1-", "-1-2", "1--2", "1-2-3", "a-b", "1-2:x", "1-2:2", "1,2", "1-2 x"]
)
def test_what_is_no_link_is_told(written: str) -> None:
    _, problems = Notation().column(pa.array(["0-0", written, "1-1 2-2"]))
    assert list(problems) == [1]
    assert "is not a link" in problems[1]


def test_text_is_split_at_white_space_where_links_count_its_words(
    corpus: Build, read_all: ReadAll
) -> None:
    contents = {"s": "it's\u00a0 a dog.\n", "t": " ni  mbwa.\n", "l": "2-1\n"}
    bitext = {"format": "bitext", "source": "s", "target": "t"}
    table = read_all(corpus(contents, **bitext, links="l"))
    assert table["source_tokens"].to_pylist() == [["it's", "a", "dog."]]
    assert table["target_tokens"].to_pylist() == [["ni", "mbwa."]]
    assert table["target_text"].to_pylist() == [" ni  mbwa."]
    by_rule = read_all(corpus(contents, **bitext))
    assert by_rule["target_tokens"].to_pylist() == [["ni", "mbwa", "."]]
    assert by_rule["id"].to_pylist() != table["id"].to_pylist()
    spaces = read_all(corpus(contents, **bitext, split="whitespace"))
    assert spaces["target_tokens"].to_pylist() == [["ni", "mbwa."]]
    assert spaces["id"].to_pylist() == by_rule["id"].to_pylist()
    ruled = read_all(corpus(contents | {"l": "4-2\n"}, **bitext, links="l", split="words"))
    assert ruled["target_tokens"].to_pylist() == by_rule["target_tokens"].to_pylist()


LINK = st.tuples(st.integers(0, 999), st.integers(0, 999))


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(LINK)),
    base=st.integers(0, 1),
    direction=st.sampled_from(["source-target", "target-source"]),
)
def test_what_a_notation_writes_it_reads(
    rows: list[list[tuple[int, int]]], base: int, direction: str
) -> None:
    notation = Notation(base, direction)
    texts = [" ".join(notation.write(*link) for link in row) for row in rows]
    links, problems = notation.column(pa.array(texts, pa.string()))
    assert not problems
    assert pairs(pa.table({"links": links})) == rows
