# ruff: noqa: RUF001 (Chinese marks)
"""Documents: sentences as rows, under ids of their own, however a corpus is cut."""

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

from projner import config, sentences
from projner.corpus import documents, files
from projner.corpus import index as corpus_index
from projner.errors import JobError

Build = Callable[..., config.Corpus]
ReadAll = Callable[..., pa.Table]

TEXT: dict[str, Any] = {"format": "text", "target": "t", "documents": True}
JSONL: dict[str, Any] = {"format": "jsonl", "path": "j", "documents": True}


def lines(*items: dict[str, Any]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def places(table: pa.Table) -> list[tuple[Any, ...]]:
    """Text, document's id, number in it, document's index of each row."""
    rows = table.select(["target_text", "doc", "origin"]).to_pylist()
    return [
        (row["target_text"], row["doc"]["id"], row["doc"]["sentence"], row["origin"]["index"])
        for row in rows
    ]


def test_blank_lines_part_documents_of_text(corpus: Build, read_all: ReadAll) -> None:
    content = "\n \nRais alifika. Aliondoka.\nKesho?\n\n\u3000\r\nHabari za leo. Nzuri!\n\n"
    table = read_all(corpus({"t": content}, **TEXT))
    assert places(table) == [
        ("Rais alifika.", "t#0", 0, 0),
        ("Aliondoka.", "t#0", 1, 0),
        ("Kesho?", "t#0", 2, 0),
        ("Habari za leo.", "t#1", 0, 1),
        ("Nzuri!", "t#1", 1, 1),
    ]
    assert table["target_tokens"][0].as_py() == ["Rais", "alifika", "."]
    assert set(table["status"].to_pylist()) == {"ok"}


def test_each_file_begins_a_document(corpus: Build, read_all: ReadAll) -> None:
    table = read_all(corpus({"d/a": "Moja. Mbili.", "d/b": "Tatu."}, **(TEXT | {"target": "d"})))
    assert places(table) == [
        ("Moja.", "d/a#0", 0, 0),
        ("Mbili.", "d/a#0", 1, 0),
        ("Tatu.", "d/b#0", 0, 0),
    ]


@pytest.mark.parametrize("columns", [{}, {"doc_id": "uid"}, {"doc_id": "meta.n"}])
def test_a_record_is_a_document(corpus: Build, read_all: ReadAll, columns: dict[str, str]) -> None:
    items = [
        {"doc_id": "a", "uid": 7, "meta": {"n": "x"}, "target_text": "Moja. Mbili.\n\nTatu."},
        {"doc_id": "b", "uid": 8, "meta": {"n": None}, "target_text": "Nne."},
    ]
    table = read_all(corpus({"j": lines(*items)}, **JSONL, columns=columns))
    first, second = {
        None: ("a", "b"),
        "uid": ("7", "8"),
        "meta.n": ("x", "j#1"),
    }[columns.get("doc_id")]
    assert places(table) == [
        ("Moja.", first, 0, 0),
        ("Mbili.", first, 1, 0),
        ("Tatu.", first, 2, 0),
        ("Nne.", second, 0, 1),
    ]


def test_documents_in_parquet_on_the_source_side(
    corpus: Build, read_all: ReadAll, tmp_path: Path
) -> None:
    table = pa.table({"url": ["u1", "u2"], "text": ["One. Two.", "Three."], "links": [["h"], []]})
    pq.write_table(table, tmp_path / "p")
    columns = {"doc_id": "url", "source_text": "text"}
    languages = ["swh_Latn", "hau_Latn"]
    chosen = corpus(
        {}, format="parquet", path="p", documents=True, columns=columns, target_lang=languages
    )
    found = read_all(chosen)
    assert found["source_text"].to_pylist() == ["One.", "Two.", "Three."] * 2
    assert [doc["id"] for doc in found["doc"].to_pylist()] == ["u1", "u1", "u2"] * 2
    assert found["target_lang"].to_pylist() == ["swh_Latn"] * 3 + ["hau_Latn"] * 3
    assert len(set(found["id"].to_pylist())) == 6
    assert "links" not in found.column_names


def test_a_data_set_of_documents(corpus: Build, read_all: ReadAll, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    items = {"doc_id": [3, 4], "target_text": ["Moja. Mbili.", "Tatu."]}
    datasets.Dataset.from_dict(items).save_to_disk(str(tmp_path / "hub"))
    table = read_all(corpus({}, format="hub", path="hub", documents=True), chunk_rows=1)
    assert places(table) == [
        ("Moja.", "3", 0, 0),
        ("Mbili.", "3", 1, 0),
        ("Tatu.", "4", 0, 1),
    ]


def test_sentences_follow_the_language(corpus: Build, read_all: ReadAll) -> None:
    item = {"target_text": "他说：“好的。”然后走了。真的吗？"}
    table = read_all(corpus({"j": lines(item)}, **JSONL, target_lang="zho_Hans"))
    assert table["target_text"].to_pylist() == ["他说：“好的。”", "然后走了。", "真的吗？"]


def test_a_sentence_has_the_id_that_it_has_in_a_corpus_of_sentences(
    corpus: Build, read_all: ReadAll
) -> None:
    contents = {"t": "Moja. Mbili. Moja.\n\nMoja.\n", "s": "Moja.\nMbili.\nMoja.\nMoja.\n"}
    split = read_all(corpus(contents, **TEXT))
    plain = read_all(corpus(contents, format="text", target="s"))
    assert split["id"].to_pylist() == plain["id"].to_pylist()
    assert "doc" not in plain.column_names


def test_a_document_without_sentences_is_an_empty_row(corpus: Build, read_all: ReadAll) -> None:
    items = [{"target_text": text} for text in ("Moja.", "", None, " \n", "Mbili.")]
    table = read_all(corpus({"j": lines(*items)}, **JSONL))
    assert table["status"].to_pylist() == ["ok", "empty", "empty", "empty", "ok"]
    assert [doc["id"] for doc in table["doc"].to_pylist()] == [f"j#{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (lines({"target_text": "Moja. Mbili."}) + "{\n", JSONL, "/j:2: is not JSON"),
        (lines({"target_text": "Moja. Mbili."}, {"target_text": 1}), JSONL, "/j:2: field `t.* is"),
        (b"Moja. Mbili.\n\nTatu. \xff Nne.\n", TEXT, "/t:3: byte 7 .* is not UTF-8"),
    ],
)
def test_a_bad_document_is_one_row(
    corpus: Build, read_all: ReadAll, content: str | bytes, settings: dict[str, Any], message: str
) -> None:
    name = settings.get("path") or settings["target"]
    with pytest.raises(JobError, match=message):
        corpus_index.index(corpus({name: content}, **settings))
    chosen = corpus({name: content}, **settings, on_error="status")
    table = read_all(chosen)
    assert table["status"].to_pylist() == ["ok", "ok", "invalid"]
    assert table["doc"].to_pylist()[-1] == {"id": f"{name}#1", "sentence": 0}
    assert corpus_index.index(chosen).rejected == 1


@pytest.mark.parametrize(
    ("item", "settings", "message"),
    [
        (
            {"source_text": "a", "target_text": "b"},
            {},
            r"/j: one of its fields \(source_text, target_text\) has to be the text",
        ),
        ({"text": "a"}, {}, r"one of its fields \(text\) has to be the text"),
        (
            {"text": "a", "id": 1},
            {"columns": {"target_text": "text", "id": "id"}},
            "corpus.columns: documents have no `id`, only doc_id, source_text, target_text",
        ),
        (
            {"text": "a"},
            {"columns": {"target_text": "text", "doc_id": "ur"}},
            "has no field `ur` .of corpus.columns.doc_id.; did you mean `text`?",
        ),
        (
            {"target_text": "a", "doc_id": ["a"]},
            {},
            "/j:1: field `doc_id` is list<item: string>, not text",
        ),
    ],
)
def test_records_that_are_no_documents_are_refused(
    corpus: Build, item: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobError, match=message):
        corpus_index.index(corpus({"j": lines(item)}, **JSONL, **settings))


@pytest.mark.parametrize(
    "settings",
    [{"format": "conll", "target": "t"}, {"format": "bitext", "source": "s", "target": "t"}],
)
def test_formats_of_sentences_have_no_documents(corpus: Build, settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"format {settings['format']} has sentences"):
        corpus({}, **settings, documents=True)


PARAGRAPHS = st.lists(
    st.lists(st.sampled_from(["Moja. ", "Mbili? ", "Dkt. A. ", "…", "ab "]), max_size=5).map(
        "".join
    ),
    max_size=6,
)
DOCUMENTS = st.lists(PARAGRAPHS.map("\n".join), min_size=1, max_size=8).filter(
    lambda texts: any(text.strip() for text in texts)
)


@settings(deadline=None)
@given(
    texts=DOCUMENTS,
    kind=st.sampled_from(["text", "jsonl", "parquet"]),
    chunk_rows=st.integers(1, 12),
    block=st.integers(1, 60),
    records=st.integers(1, 4),
    skip=st.integers(0, 4),
    limit=st.none() | st.integers(1, 20),
)
def test_chunks_together_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    read_all: ReadAll,
    texts: list[str],
    kind: str,
    chunk_rows: int,
    block: int,
    records: int,
    skip: int,
    limit: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("documents")
    if kind == "text":
        (folder / "f").write_text("\n\n".join(texts))
        blocks = "\n".join(line if line.strip() else "" for line in "\n\n".join(texts).split("\n"))
        texts = [block for block in blocks.split("\n\n") if block.strip()]
    elif kind == "jsonl":
        (folder / "f").write_text(lines(*({"target_text": text} for text in texts)))
    else:
        pq.write_table(pa.table({"target_text": texts}), folder / "f", row_group_size=2)
    expected = []
    for document, text in enumerate(texts):
        spans = sentences.split(text, "swh_Latn")
        parts = [text[start:end] for start, end in spans] or [text]
        expected += [(part, f"f#{document}", number, document) for number, part in enumerate(parts)]
    chosen = config.Corpus(
        **({"format": kind} | ({"target": "f"} if kind == "text" else {"path": "f"})),
        root=str(folder),
        source_lang="eng_Latn",
        target_lang="swh_Latn",
        documents=True,
        skip=min(skip, len(expected) - 1),
        limit=limit,
    )
    whole = read_all(chosen, chunk_rows=1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK", block)
        patch.setattr(documents, "_RECORDS", records)
        assert read_all(chosen, chunk_rows).equals(whole)
        index = corpus_index.index(chosen, chunk_rows)
    assert max(chunk.rows for chunk in index.chunks) <= chunk_rows
    assert places(whole) == expected[chosen.skip :][:limit]
    together = corpus_index.packed(index.chunks, 1000)
    parts = [
        corpus_index.read(chosen, chunk, index.ids[chunk.first : chunk.first + chunk.rows])
        for chunk in together
    ]
    assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())


def test_a_file_that_has_shrunk_is_noticed(corpus: Build, tmp_path: Path) -> None:
    chosen = corpus({"t": "Moja. Mbili.\n\nTatu.\n"}, **TEXT)
    index = corpus_index.index(chosen)
    (tmp_path / "t").write_text("Moja, mbili.\n\nTatu.\n")
    with pytest.raises(JobError, match="/t: has changed since it was read first"):
        corpus_index.read(chosen, index.chunks[0], index.ids)


def test_lines_are_split_where_they_stand(
    corpus: Build, read_all: ReadAll, shared_data: Path
) -> None:
    """Sentences of real news, in documents of twenty lines, are all there and in order."""
    news = (shared_data / "lafand/en-yor/train.yor").read_text(encoding="utf-8").split("\n")[:1000]
    texts = ["\n".join(news[first : first + 20]) for first in range(0, 1000, 20)]
    items = [{"doc_id": f"d{n}", "target_text": text} for n, text in enumerate(texts)]
    chosen = corpus({"j": lines(*items)}, **JSONL, target_lang="yor_Latn")
    table = read_all(chosen, chunk_rows=97)
    assert table.num_rows > 1000
    assert "".join("".join(table["target_text"].to_pylist()).split()) == "".join(
        "".join(news).split()
    )
    by_document = [row["id"] for row in table["doc"].to_pylist() if row["sentence"] == 0]
    assert by_document == [f"d{n}" for n in range(50)]
