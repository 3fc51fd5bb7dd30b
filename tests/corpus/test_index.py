"""Ids, order, chunks, and what the two sides of a corpus have to do with each other."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner import config, record
from projner.corpus import files, ids
from projner.corpus import index as corpus_index

Build = Callable[..., config.Corpus]
ReadAll = Callable[..., pa.Table]

BITEXT: dict[str, Any] = {"format": "bitext", "source": "s", "target": "t"}


def test_the_table_is_a_record(corpus: Build, read_all: ReadAll) -> None:
    contents = {"s": "EU B-ORG\nsaid O\n\n", "t": "EU ilisema\n", "l": "0-0\n"}
    table = read_all(corpus(contents, **BITEXT, links="l"))
    assert table.schema.equals(record.schema(table.column_names), check_metadata=True)
    (row,) = table.to_pylist()
    assert isinstance(row.pop("id"), int)
    assert row == {
        "revision": 0,
        "origin": {"file": "t", "index": 0},
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
        "source_text": "EU said",
        "target_text": "EU ilisema",
        "source_tokens": ["EU", "said"],
        "target_tokens": ["EU", "ilisema"],
        "source_entities": [{"start": 0, "end": 1, "label": "ORG", "score": 1.0}],
        "links": [{"source": 0, "target": 0, "score": 1.0}],
        "status": "ok",
        "status_detail": None,
    }


def test_columns_that_are_not_given_are_not_there(corpus: Build, read_all: ReadAll) -> None:
    table = read_all(corpus({"t": "habari\n"}, format="text", target="t"))
    assert table.column_names == [
        "id",
        "revision",
        "origin",
        "source_lang",
        "target_lang",
        "target_text",
        "target_tokens",
        "status",
        "status_detail",
    ]


@pytest.mark.parametrize(
    ("source", "target", "statuses"),
    [
        ("a\n\nb\n", "x\ny\n\n", ["ok", "empty", "empty"]),
        ("a\n \u200b \nb\n", "x\ny\nz\n", ["ok", "empty", "ok"]),
        ("\n", "\n", ["empty"]),
        ("a\nb", "x\ny\n", ["ok", "ok"]),
    ],
)
def test_a_blank_line_is_an_empty_sentence(
    corpus: Build, read_all: ReadAll, source: str, target: str, statuses: list[str]
) -> None:
    table = read_all(corpus({"s": source, "t": target}, **BITEXT))
    assert table["status"].to_pylist() == statuses
    details = table["status_detail"].to_pylist()
    assert [detail is not None for detail in details] == [status != "ok" for status in statuses]


def test_sides_are_told_apart_by_content(corpus: Build, read_all: ReadAll) -> None:
    contents = {"s": "It is O\nB-PER so O\nor B- O\n", "t": "a O\nb O\n\nc B-X\n\nd\tO\n"}
    table = read_all(corpus(contents, **BITEXT, tag_column=1))
    assert table["source_text"].to_pylist() == ["It is O", "B-PER so O", "or B- O"]
    assert table["target_tokens"].to_pylist() == [["a", "b"], ["c"], ["d"]]


def test_equal_rows_all_come_out_under_ids_of_their_own(corpus: Build, read_all: ReadAll) -> None:
    table = read_all(corpus({"s": "a\nb\na\na\n"}, format="text", source="s"))
    assert table["source_text"].to_pylist() == ["a", "b", "a", "a"]
    assert len(set(table["id"].to_pylist())) == 4


def test_an_id_depends_on_all_that_is_given_and_on_nothing_else(
    corpus: Build, read_all: ReadAll
) -> None:
    given_once = {"s": "a B-X\n\n", "t": "x\n", "l": "0-0\n"}
    base = {**BITEXT, "links": "l"}
    changed: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({}, {}),
        ({"s": "b B-X\n\n"}, {}),
        ({"s": "a B-Y\n\n"}, {}),
        ({"s": "a O\n\n"}, {}),
        ({"t": "y\n"}, {}),
        ({"l": "\n"}, {}),
        ({"l": "0-0:0.5\n"}, {}),
        ({}, {"target_lang": "hau_Latn"}),
        ({}, {"source_lang": "fra_Latn"}),
        ({"s": "a\n"}, {}),
    ]
    found = [
        read_all(corpus(given_once | contents, **(base | others)))["id"][0].as_py()
        for contents, others in changed
    ]
    assert len(set(found)) == len(changed)
    same: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({"s": "a\tS-X\n"}, {}),
        ({"t": "x\r\n"}, {}),
        ({"l": "1-1\n"}, {"links_base": 1}),
        ({}, {"split": "words"}),
    ]
    for contents, others in same:
        table = read_all(corpus(given_once | contents, **(base | others)))
        assert table["id"][0].as_py() == found[0]


def test_ids_are_the_same_on_every_machine(corpus: Build, read_all: ReadAll) -> None:
    contents = {"s": "EU B-ORG\nsaid O\n\n", "t": "EU ilisema\n", "l": "0-0\n"}
    assert read_all(corpus(contents, **BITEXT, links="l"))["id"].to_pylist() == [ID]


ID = -3821629146494983101

SENTENCES = st.lists(st.text("ab ", max_size=3), min_size=1, max_size=30)


def text_corpus(folder: Any, sentences: list[str], **settings: Any) -> config.Corpus:
    (folder / "s").write_text("".join(f"{sentence}\n" for sentence in sentences))
    languages = {"source_lang": "eng_Latn", "target_lang": "swh_Latn"}
    return config.Corpus(format="text", source="s", root=str(folder), **(languages | settings))


@settings(deadline=None)
@given(sentences=SENTENCES, inserted=st.lists(st.tuples(st.integers(0, 30), st.just("new"))))
def test_lines_inserted_elsewhere_change_no_id(
    tmp_path_factory: pytest.TempPathFactory,
    sentences: list[str],
    inserted: list[tuple[int, str]],
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    before = corpus_index.index(text_corpus(folder, sentences)).ids
    longer = list(sentences)
    for place, sentence in inserted:
        longer.insert(place, sentence)
    after = corpus_index.index(text_corpus(folder, longer)).ids
    kept = [number for number, sentence in enumerate(longer) if sentence != "new"]
    assert after[kept].tolist() == before.tolist()
    assert len(set(after.tolist())) == len(longer)


@settings(deadline=None)
@given(
    sentences=SENTENCES,
    chunk_rows=st.integers(1, 40),
    block=st.integers(1, 50),
    skip=st.integers(0, 10),
    limit=st.none() | st.integers(1, 40),
    languages=st.lists(st.sampled_from(["swh_Latn", "hau_Latn"]), min_size=1, unique=True),
)
def test_chunks_together_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    read_all: ReadAll,
    sentences: list[str],
    chunk_rows: int,
    block: int,
    skip: int,
    limit: int | None,
    languages: list[str],
) -> None:
    skip = min(skip, len(sentences) - 1)
    folder = tmp_path_factory.mktemp("chunks")
    chosen = text_corpus(folder, sentences, target_lang=languages, skip=skip, limit=limit)
    whole = read_all(chosen, chunk_rows=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK", block)
        assert read_all(chosen, chunk_rows).equals(whole)
        index = corpus_index.index(chosen, chunk_rows)
    assert max(chunk.rows for chunk in index.chunks) <= chunk_rows
    expected = sentences[skip:][:limit]
    assert whole["source_text"].to_pylist() == expected * len(languages)
    assert whole["target_lang"].to_pylist() == np.repeat(languages, len(expected)).tolist()
    positions = [origin["index"] for origin in whole["origin"].to_pylist()]
    assert positions == list(range(skip, skip + len(expected))) * len(languages)


def test_small_files_share_a_chunk_and_large_ones_are_divided(
    corpus: Build, read_all: ReadAll
) -> None:
    contents = {
        f"in/{name}": f"{name}\n" * rows for name, rows in zip("abcd", (2, 1, 7, 3), strict=True)
    }
    chosen = corpus(contents, format="text", source="in", skip=1)
    index = corpus_index.index(chosen, chunk_rows=4)
    assert [chunk.rows for chunk in index.chunks] == [2, 4, 3, 3]
    assert [len(chunk.stretches) for chunk in index.chunks] == [2, 1, 1, 1]
    table = read_all(chosen, chunk_rows=4)
    assert table["source_text"].to_pylist() == list("abcccccccddd")
    assert [tuple(origin.values()) for origin in table["origin"].to_pylist()] == [
        ("in/a", 1),
        ("in/b", 0),
        *(("in/c", number) for number in range(7)),
        *(("in/d", number) for number in range(3)),
    ]


@pytest.mark.parametrize("rows", [1, 3, 5, 8, 100])
def test_packed_chunks_hold_the_same_rows(corpus: Build, rows: int) -> None:
    contents = {"in/a": "a\nb\nc\nd\n", "in/b": "e\nf\n", "in/c": "g\nh\ni\n"}
    languages = ["swh_Latn", "hau_Latn"]
    chosen = corpus(contents, format="text", source="in", target_lang=languages)
    index = corpus_index.index(chosen, chunk_rows=1)

    def read(chunks: Sequence[corpus_index.Chunk]) -> pa.Table:
        ids_of = [index.ids[chunk.first : chunk.first + chunk.rows] for chunk in chunks]
        pairs = zip(chunks, ids_of, strict=True)
        return pa.concat_tables(corpus_index.read(chosen, *pair) for pair in pairs)

    chunks = corpus_index.packed(index.chunks, rows)
    assert max(chunk.rows for chunk in chunks) == min(rows, 9)
    # What lies together in a file is read in one go.
    assert max(len(chunk.stretches) for chunk in chunks) <= 3
    assert read(chunks).equals(read(index.chunks))


def test_a_limit_ends_the_reading(corpus: Build, read_all: ReadAll) -> None:
    contents = {"a": "1\n2\n", "b": b"\xff"}
    chosen = corpus(contents, format="text", source=["a", "b"], limit=2)
    assert read_all(chosen)["source_text"].to_pylist() == ["1", "2"]


def test_files_of_both_sides_go_together_in_order(corpus: Build, read_all: ReadAll) -> None:
    contents = {"s1": "a\n", "s2": "b\nc\n", "t1": "x\n", "t2": "y\nz\n"}
    chosen = corpus(contents, format="bitext", source=["s1", "s2"], target="t*")
    table = read_all(chosen)
    assert table["source_text"].to_pylist() == ["a", "b", "c"]
    assert table["target_text"].to_pylist() == ["x", "y", "z"]
    assert [origin["file"] for origin in table["origin"].to_pylist()] == ["t1", "t2", "t2"]


def test_chunks_are_small_to_send(corpus: Build) -> None:
    contents = {"s": "a\n" * 5000, "t": "x\n" * 5000, "l": "0-0\n" * 5000}
    index = corpus_index.index(corpus(contents, **BITEXT, links="l"))
    assert len(pickle.dumps(index.chunks[0])) < 2000


def test_digests_that_meet_still_become_distinct_ids() -> None:
    digests = np.array([5, 5, 9, 5, 9], np.int64)
    found = ids.distinct(digests)
    meeting = np.append(digests, [found[1], found[3]])
    again = ids.distinct(meeting)
    assert len(set(found.tolist())) == 5
    assert len(set(again.tolist())) == 7
    assert again[:5].tolist() == found.tolist()


def test_fields_cannot_run_into_each_other() -> None:
    def digest(**columns: list[Any]) -> int:
        arrays = {name: pa.array(values, record.type_of(name)) for name, values in columns.items()}
        return int(ids.digests(arrays, "salt")[0])

    found = {
        digest(source_text=["ab"], target_text=["c"]),
        digest(source_text=["a"], target_text=["bc"]),
        digest(source_text=["abc"], target_text=[""]),
        digest(source_text=["abc"], target_text=[None]),
        digest(source_text=["abc"]),
        digest(target_text=["abc"]),
        digest(source_tokens=[["abc"]]),
        digest(source_tokens=[["a", "bc"]]),
        digest(source_tokens=[["ab", "c"]]),
    }
    assert len(found) == 9
