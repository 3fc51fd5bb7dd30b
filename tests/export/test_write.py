"""Exports of a real run, read back by the tools that they are for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from projner.cli import main
from projner.errors import JobError
from projner.evaluate import f1
from projner.export.sentences import Choice
from projner.export.write import FORMATS, export
from projner.tags import to_spans, to_tags
from tests.conftest import PAIRS, labelled

EXPECTED = [labelled(pair.target) for pair in PAIRS]
TOKENS = [tokens for tokens, _ in EXPECTED]
TAGS = [to_tags(spans, len(tokens)) for tokens, spans in EXPECTED]
TEXTS = [" ".join(tokens) for tokens in TOKENS]


@pytest.fixture
def exported(pairs_run: str, tmp_path: Path):
    def run(form: str, **choice: object) -> Path:
        path = tmp_path / form
        export(pairs_run, form, str(path), Choice(**choice))  # type: ignore[arg-type]
        return path

    return run


def characters(index: int) -> list[tuple[str, str]]:
    """Class and words of each entity of a sentence."""
    tokens, spans = EXPECTED[index]
    return [(label, " ".join(tokens[start:end])) for start, end, label in spans]


def test_conll_is_the_gold_again_in_corpus_order(exported):
    found = f1.read_labelled(str(exported("conll")))
    assert (found.tokens, found.tags) == (TOKENS, TAGS)


def test_iob2_has_a_header_and_five_columns(exported):
    blocks = exported("iob2").read_text(encoding="utf-8").strip().split("\n\n")
    for block, tokens, tags, text in zip(blocks, TOKENS, TAGS, TEXTS, strict=True):
        head, said, *lines = block.split("\n")
        assert head.startswith("# sent_id = ")
        assert said == f"# text = {text}"
        assert [line.split("\t") for line in lines] == [
            [str(number), token, tag, "-", "-"]
            for number, (token, tag) in enumerate(zip(tokens, tags, strict=True), 1)
        ]


def test_jsonl_has_words_and_characters(exported):
    rows = [json.loads(line) for line in exported("jsonl").read_text("utf-8").splitlines()]
    assert [(row["tokens"], row["ner_tags"]) for row in rows] == [*zip(TOKENS, TAGS, strict=True)]
    for index, row in enumerate(rows):
        found = [
            (entity["label"], row["text"][entity["start_char"] : entity["end_char"]])
            for entity in row["entities"]
        ]
        assert found == characters(index)


def test_csv_has_a_row_for_each_entity(exported):
    with exported("csv").open(encoding="utf-8", newline="") as file:
        found = [(row["label"], row["entity"]) for row in csv.DictReader(file)]
    assert found == [pair for index in range(len(PAIRS)) for pair in characters(index)]


def test_datasets_loads_the_folder_with_class_labels(exported, tmp_path: Path):
    datasets = pytest.importorskip("datasets", reason="needs the extra projner[hub]")
    loaded = datasets.load_dataset(
        str(exported("hf")), split="train", cache_dir=str(tmp_path / "cache")
    )
    tags = loaded.features["ner_tags"].feature
    assert isinstance(tags, datasets.ClassLabel)
    assert loaded["tokens"][:] == TOKENS
    assert [tags.int2str(row) for row in loaded["ner_tags"]] == TAGS


def test_spacy_reads_the_doc_bin(exported):
    spacy = pytest.importorskip("spacy", reason="needs the extra projner[spacy]")
    from spacy.tokens import DocBin

    docs = list(DocBin().from_disk(exported("spacy")).get_docs(spacy.blank("xx").vocab))
    assert [[token.text for token in doc] for doc in docs] == TOKENS
    assert [doc.text for doc in docs] == TEXTS
    assert [[(ent.label_, ent.text) for ent in doc.ents] for doc in docs] == [
        characters(index) for index in range(len(PAIRS))
    ]


def test_brat_has_offsets_into_its_text(exported):
    folder = exported("brat")
    (text,) = (path.read_text("utf-8") for path in folder.glob("*.txt"))
    (notes,) = (path.read_text("utf-8") for path in folder.glob("*.ann"))
    assert text.splitlines() == TEXTS
    found = []
    for number, line in enumerate(notes.splitlines(), 1):
        key, place, words = line.split("\t")
        label, start, end = place.split(" ")
        assert key == f"T{number}"
        assert text[int(start) : int(end)] == words
        found.append((label, words))
    assert found == [pair for index in range(len(PAIRS)) for pair in characters(index)]


def test_label_studio_has_tasks_with_predictions(exported):
    tasks = json.loads(exported("label-studio").read_text("utf-8"))
    assert [task["data"]["text"] for task in tasks] == TEXTS
    for index, task in enumerate(tasks):
        (prediction,) = task["predictions"]
        found = [(r["value"]["labels"][0], r["value"]["text"]) for r in prediction["result"]]
        assert found == characters(index)
        for result in prediction["result"]:
            value = result["value"]
            assert task["data"]["text"][value["start"] : value["end"]] == value["text"]


def test_entities_and_rows_can_be_chosen(exported, pairs_run: str, tmp_path: Path):
    found = f1.read_labelled(str(exported("conll", classes=("ORG",))))
    spans = [[span for span in to_spans(tags) if span.label == "ORG"] for tags in TAGS]
    assert found.tags == [to_tags(s, len(t)) for s, t in zip(spans, TOKENS, strict=True)]
    assert export(pairs_run, "jsonl", str(tmp_path / "all"), Choice(languages=("swh_Latn",))) == 5
    assert export(pairs_run, "jsonl", str(tmp_path / "bad"), Choice(statuses=("error",))) == 0
    export(pairs_run, "conll", str(tmp_path / "sure"), Choice(min_score=2.0))
    assert {tag for tags in f1.read_labelled(str(tmp_path / "sure")).tags for tag in tags} == {"O"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "xml"], "unknown format 'xml'; choose one of conll"),
        (
            ["--format", "conll", "--classes", "MISC"],
            "has no class 'MISC'; there are LOC, ORG, PER",
        ),
        (
            ["--format", "conll", "--lang", "hau"],
            "has no language hau_Latn; there are swh_Latn",
        ),
        (["--format", "conll", "--status", "okay"], "unknown status 'okay'; choose among ok"),
        (["--format", "conll", "--output", "."], "exists already"),
        (["--format", "conll", "--output", "no/where"], "no such folder"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, message, pairs_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = arguments if "--output" in arguments else [*arguments, "--output", "out"]
    assert main(["export", pairs_run, *given]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_an_export_that_fails(pairs_run: str, tmp_path: Path, monkeypatch):
    from projner.export import sentences

    monkeypatch.setattr(sentences.Sentence, "offsets", lambda self: 1 / 0)
    for form in set(FORMATS) - {"conll", "iob2", "hf"}:
        with pytest.raises((ZeroDivisionError, JobError)):
            export(pairs_run, form, str(tmp_path / form))
    assert list(tmp_path.iterdir()) == []


def test_offsets_follow_the_text():
    from projner.export.sentences import Sentence

    sentence = Sentence(
        1, "zho_Hans", None, "我在 北京。", None, ["我", "在", "北京", "。"], [], "ok", None
    )
    assert sentence.offsets() == [(0, 1), (1, 2), (3, 5), (5, 6)]
