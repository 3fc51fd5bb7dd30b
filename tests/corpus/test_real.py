"""Real corpora, against a reader that is as plain as it can be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from projner import config, tags
from projner.corpus import conll
from projner.corpus import index as corpus_index

ReadAll = Callable[..., pa.Table]
Sentence = tuple[list[str], list[str]]


def build(root: Path, **settings: Any) -> config.Corpus:
    languages = {"source_lang": "eng_Latn", "target_lang": "swh_Latn"}
    return config.Corpus(root=str(root), **(languages | settings))


def plainly(path: Path, token: int = 0, tag: int = -1, prefix: str = "") -> list[Sentence]:
    """Sentences of a CoNLL file whose comments are like `# text = ...`."""
    found: list[Sentence] = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        rows = [
            line.split() for line in block.split("\n") if line and not re.match("# .* = ", line)
        ]
        if rows and rows[0][0] != "-DOCSTART-":
            found.append(
                ([row[token].removeprefix(prefix) for row in rows], [row[tag] for row in rows])
            )
    return found


def check(table: pa.Table, expected: list[Sentence]) -> None:
    assert table["source_tokens"].to_pylist() == [tokens for tokens, _ in expected]
    entities = [
        [(entity["start"], entity["end"], entity["label"]) for entity in row]
        for row in table["source_entities"].to_pylist()
    ]
    assert entities == [tags.to_spans(row) for _, row in expected]
    assert table["source_text"].to_pylist() == [" ".join(tokens) for tokens, _ in expected]
    assert set(table["status"].to_pylist()) == {"ok"}
    assert len(set(table["id"].to_pylist())) == len(expected)


FILES: dict[str, tuple[int, dict[str, Any]]] = {
    "masakhaner2/bam/dev.txt": (638, {}),
    "masakhaner2/swa/dev.txt": (942, {}),
    "wikiann/sw/test": (1000, {"prefix": "sw:"}),
    "wikiann/yo/dev": (100, {"prefix": "yo:"}),
    "europarl_ner/en-europarl.test.conll02": (799, {}),
    "bambara/english-predicted.conll": (1274, {}),
    "english_ner/uner_ewt.dev.iob2": (2001, {"token": 1, "tag": 2}),
    # 145 of the 1,841 blocks are document marks.
    "english_ner/wikigold.conll": (1696, {}),
    "absa/en-fr/test/source.tsv": (676, {}),
}


@pytest.mark.parametrize("name", FILES)
def test_conll(shared_data: Path, read_all: ReadAll, name: str) -> None:
    sentences, how = FILES[name]
    expected = plainly(shared_data / name, **how)
    assert len(expected) == sentences
    columns = {f"{key}_column": column for key, column in how.items() if key != "prefix"}
    corpus = build(shared_data, format="conll", source=name, **columns)
    check(read_all(corpus, chunk_rows=300), expected)


def test_hashes_are_words(shared_data: Path) -> None:
    path = shared_data / "lafand/en-swa/train.en.predicted.conll"
    lines = path.read_text(encoding="utf-8").split("\n")
    found = [token for sentence in conll.sentences(str(path)) for token in sentence.tokens]
    assert found == [line.split("\t")[0] for line in lines if line]


def test_gold_with_a_column_of_confidences(shared_data: Path) -> None:
    path = shared_data / "absa/en-fr/test/gold.tsv"
    text = path.read_text(encoding="utf-8")
    found = [tag for sentence in conll.sentences(str(path)) for tag in sentence.tags]
    assert found == [line.split("\t")[1] for line in text.split("\n") if line]


def test_links_of_four_aligners(shared_data: Path, read_all: ReadAll) -> None:
    folder = shared_data / "absa/en-es/test"
    for aligner in ("awesome", "fast_align", "mgiza", "simalign"):
        corpus = build(
            folder,
            format="bitext",
            source="source.tsv",
            target="gold.tsv",
            links=f"{aligner}.pharaoh",
            tag_column=1,
        )
        table = read_all(corpus, chunk_rows=300)
        lines = (folder / f"{aligner}.pharaoh").read_text().splitlines()
        assert [
            " ".join(f"{link['source']}-{link['target']}" for link in row)
            for row in table["links"].to_pylist()
        ] == lines
        assert table["target_tokens"].to_pylist() == [t for t, _ in plainly(folder / "gold.tsv")]


def test_links_in_a_column_the_other_way_and_in_json(shared_data: Path, read_all: ReadAll) -> None:
    folder = shared_data / "bambara"
    bitext = {
        "format": "bitext",
        "source": "english-predicted.conll",
        "target": "gold.conll",
        "skip": 637,
        "ignore": ["MISC"],
    }
    table = read_all(
        build(folder, **bitext, links="transalign.tsv", links_direction="target-source"), 300
    )
    lines = (folder / "transalign.tsv").read_text().splitlines()[637:]
    assert [
        " ".join(f"{link['target']}-{link['source']}" for link in row)
        for row in table["links"].to_pylist()
    ] == [line.split("\t")[1] for line in lines]
    labels = {e["label"] for row in table["source_entities"].to_pylist() for e in row}
    assert labels == {"PER", "ORG", "LOC"}

    table = read_all(build(folder, **bitext, links="accalign.jsonl"), 300)
    objects = map(json.loads, (folder / "accalign.jsonl").read_text().splitlines()[637:])
    assert [
        [[link["source"], link["target"]] for link in row] for row in table["links"].to_pylist()
    ] == [item["alignment"] for item in objects]
    assert table["origin"][0].as_py() == {"file": "gold.conll", "index": 637}


def test_gold_alignments_that_count_from_one(
    shared_data: Path, read_all: ReadAll, tmp_path: Path
) -> None:
    folder = shared_data / "gold_alignments/awesome_align"
    sides = [line.split(" ||| ") for line in (folder / "enfr.src-tgt").read_text().splitlines()]
    for name, side in (("s", 0), ("t", 1)):
        (tmp_path / name).write_text("".join(f"{pair[side]}\n" for pair in sides))
    corpus = build(
        tmp_path,
        format="bitext",
        source="s",
        target="t",
        links=str(folder / "enfr.gold"),
        links_base=1,
    )
    table = read_all(corpus)
    assert table["source_text"].to_pylist() == [pair[0] for pair in sides]
    lines = (folder / "enfr.gold").read_text().replace("p", "-").splitlines()
    assert [
        {f"{link['source'] + 1}-{link['target'] + 1}" for link in row}
        for row in table["links"].to_pylist()
    ] == [set(line.split()) for line in lines]


def test_a_large_bitext_is_indexed_in_order_with_ids_of_its_own(shared_data: Path) -> None:
    corpus = build(
        shared_data / "lafand/en-swa",
        format="bitext",
        source="train.en.predicted.conll",
        target="train.swa",
    )
    index = corpus_index.index(corpus)
    assert len(set(index.ids.tolist())) == 30_782
    chunk = index.chunks[2]
    table = corpus_index.read(corpus, chunk, index.ids[chunk.first : chunk.first + chunk.rows])
    lines = (shared_data / "lafand/en-swa/train.swa").read_text(encoding="utf-8").split("\n")
    assert table["target_text"].to_pylist() == lines[chunk.first : chunk.first + chunk.rows]
    assert index.rejected == 0
