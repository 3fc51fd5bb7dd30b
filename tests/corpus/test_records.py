"""Records with named fields: JSON lines, Parquet, and what `datasets` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner import config, record
from projner.corpus import index as corpus_index
from projner.errors import JobError

Build = Callable[..., config.Corpus]
ReadAll = Callable[..., pa.Table]

JSONL: dict[str, Any] = {"format": "jsonl", "path": "j"}


def lines(*items: dict[str, Any]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def entity(start: int, end: int, label: str, score: float = 1.0) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, "score": score}


def test_every_column_can_be_given(corpus: Build, read_all: ReadAll) -> None:
    item = {
        "id": 5,
        "source_text": "EU, said Anna.",
        "target_text": "Anna alisema",
        "source_tokens": ["EU", ",", "said", "Anna", "."],
        "target_tokens": ["Anna", "alisema"],
        "source_entities": [entity(0, 1, "ORG"), entity(3, 4, "PER", 0.5)],
        "links": [{"source": 3, "target": 0, "score": 0.5}, {"source": 2, "target": 1}],
        "target_tags": ["B-PER", "O"],
        "anything": {"else": None},
    }
    (row,) = read_all(corpus({"j": lines(item)}, **JSONL)).to_pylist()
    assert row["origin"] == {"file": "j", "index": 0}
    assert row["links"] == [
        {"source": 3, "target": 0, "score": 0.5},
        {"source": 2, "target": 1, "score": 1.0},
    ]
    for name in item.keys() - {"links", "target_tags", "anything"}:
        assert row[name] == item[name]
    assert "target_entities" not in row


def test_fields_go_where_the_job_says(corpus: Build, read_all: ReadAll) -> None:
    item = {"uid": 9, "id": "a-1", "translation": {"en": "a b", "sw": "c"}, "al": [[1, 0]]}
    columns = {
        "id": "uid",
        "source_text": "translation.en",
        "target_text": "translation.sw",
        "links": "al",
    }
    chosen = corpus({"j": lines(item)}, **JSONL, columns=columns)
    (row,) = read_all(chosen).to_pylist()
    assert (row["id"], row["source_text"], row["target_text"]) == (9, "a b", "c")
    assert row["links"] == [{"source": 1, "target": 0, "score": 1.0}]


def test_tags_become_entities(corpus: Build, read_all: ReadAll) -> None:
    items = [
        {"tokens": ["a", "b", "c"], "tags": ["B-PER", "I-PER", "O"]},
        {"tokens": ["a"], "tags": ["B-MISC"]},
        {"tokens": ["a"], "tags": None},
        {"tokens": [], "tags": []},
    ]
    columns = {"source_tokens": "tokens", "source_tags": "tags"}
    table = read_all(corpus({"j": lines(*items)}, **JSONL, columns=columns, ignore="MISC"))
    assert table["source_entities"].to_pylist() == [[entity(0, 2, "PER")], [], None, []]
    assert table["source_text"].to_pylist() == ["a b c", "a", "a", ""]
    assert table["status"].to_pylist() == ["ok", "ok", "ok", "empty"]


def test_tags_of_a_text_count_its_words_at_white_space(corpus: Build, read_all: ReadAll) -> None:
    item = {"source_text": "Anna's house.", "source_tags": ["B-PER", "O"], "target_text": "a, b"}
    (row,) = read_all(corpus({"j": lines(item)}, **JSONL)).to_pylist()
    assert row["source_tokens"] == ["Anna's", "house."]
    assert row["target_tokens"] == ["a", ",", "b"]


@pytest.mark.parametrize(
    "links",
    [
        [[0, 1], [1, 0]],
        [{"source": 0, "target": 1}, {"target": 0, "source": 1}],
        "0-1 1-0",
        [[0.0, 1], [1, 0]],
    ],
)
def test_links_in_every_form(corpus: Build, read_all: ReadAll, links: Any) -> None:
    items = [
        {"source_text": "a b", "target_text": "c d", "links": links},
        {"source_text": "a b", "target_text": "c d", "links": None},
        {"source_text": "a b", "target_text": "c d"},
        {"source_text": "a b", "target_text": "c d", "links": links[:0]},
    ]
    table = read_all(corpus({"j": lines(*items)}, **JSONL))
    found = table["links"].to_pylist()
    assert found[1:] == [None, None, []]
    assert [(link["source"], link["target"]) for link in found[0]] == [(0, 1), (1, 0)]


def test_an_id_that_is_no_number_is_not_taken_unasked(corpus: Build, read_all: ReadAll) -> None:
    text = lines({"id": "0", "source_text": "a"})
    assert read_all(corpus({"j": text}, **JSONL))["id"].to_pylist() != [0]


def test_own_ids_stay_distinct_over_languages(corpus: Build, read_all: ReadAll) -> None:
    text = lines({"id": 1, "source_text": "a"}, {"id": 2, "source_text": "a"})
    settings = JSONL | {"target_lang": ["swh_Latn", "hau_Latn"]}
    table = read_all(corpus({"j": text}, **settings))
    assert len(set(table["id"].to_pylist())) == 4
    alone = read_all(corpus({"k": text}, **(settings | {"path": "k", "limit": 1})))
    assert set(alone["id"].to_pylist()) < set(table["id"].to_pylist())


ROWS = [
    {"source_text": "EU said", "target_text": "EU ilisema", "links": [[0, 0]], "n": 1},
    {"source_text": "", "target_text": "a", "links": [], "n": 2},
    {"source_text": None, "target_text": "b b", "links": None, "n": 3},
    {"source_text": "no . no", "target_text": "la", "links": [[2, 0], [0, 0]], "n": 4},
] * 3


@pytest.mark.parametrize("group", [1, 5, 100])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_parquet_says_what_json_says(
    corpus: Build, read_all: ReadAll, tmp_path: Path, group: int, chunk_rows: int
) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "p", row_group_size=group)
    table = read_all(corpus({}, format="parquet", path="p"), chunk_rows)
    other = read_all(corpus({"j": lines(*ROWS)}, **JSONL), chunk_rows)
    assert table.drop_columns("origin").equals(other.drop_columns("origin"))
    assert table["status"].to_pylist() == ["ok", "empty", "empty", "ok"] * 3
    assert table["source_text"].to_pylist()[:3] == ["EU said", "", ""]


def test_parquet_types_that_mean_the_same(corpus: Build, read_all: ReadAll, tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.uint8()),
            "source_tokens": pa.array([["a"], ["b", "c"]], pa.large_list(pa.large_string())),
            "target_text": pa.array(["x", "x"]).dictionary_encode(),
            "links": pa.array([[[0, 0]], [[1, 0]]], pa.list_(pa.list_(pa.int8(), 2))),
        }
    )
    pq.write_table(table, tmp_path / "p")
    found = read_all(corpus({}, format="parquet", path="p"))
    assert found["id"].to_pylist() == [1, 2]
    assert found["source_text"].to_pylist() == ["a", "b c"]
    assert found["target_tokens"].to_pylist() == [["x"], ["x"]]
    assert [[tuple(link.values()) for link in row] for row in found["links"].to_pylist()] == [
        [(0, 0, 1.0)],
        [(1, 0, 1.0)],
    ]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("source_text", [1], "field `source_text` is int64, not text"),
        ("source_tokens", ["a"], "field `source_tokens` is string, not a list of text"),
        ("source_tags", [[1]], "field `source_tags` has numbers whose names are not known"),
    ],
)
def test_a_parquet_field_of_another_type_is_told_at_once(
    corpus: Build, tmp_path: Path, column: str, values: list[Any], message: str
) -> None:
    columns = {"source_text": ["a"], column: values}
    pq.write_table(pa.table(columns), tmp_path / "p")
    with pytest.raises(JobError, match=message):
        corpus_index.index(corpus({}, format="parquet", path="p", on_error="status"))


def test_written_records_can_be_read_again(
    corpus: Build, read_all: ReadAll, tmp_path: Path
) -> None:
    text = {"s": "EU B-ORG\nsaid O\n\n", "t": "EU ilisema\n", "l": "0-0 1-1\n"}
    bitext = {"format": "bitext", "source": "s", "target": "t", "links": "l"}
    table = read_all(corpus(text, **bitext))
    pq.write_table(table.cast(record.schema(table.column_names)), tmp_path / "p")
    again = read_all(corpus({}, format="parquet", path="p"))
    assert again.drop_columns("origin").equals(table.drop_columns("origin"))


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, st.lists(WORDS)), min_size=1), chunk_rows=st.integers(1, 9))
def test_texts_and_words_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory,
    read_all: ReadAll,
    rows: list[tuple[str, list[str]]],
    chunk_rows: int,
) -> None:
    folder = tmp_path_factory.mktemp("json")
    items = [{"source_text": text, "target_tokens": words} for text, words in rows]
    (folder / "j").write_text(lines(*items))
    languages = {"source_lang": "eng_Latn", "target_lang": "swh_Latn"}
    table = read_all(config.Corpus(root=str(folder), **languages, **JSONL), chunk_rows)
    assert table["source_text"].to_pylist() == [text for text, _ in rows]
    assert table["target_tokens"].to_pylist() == [words for _, words in rows]
