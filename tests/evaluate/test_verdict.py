"""Models, files and runs against gold, by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from projner import cli, config, stage, tags
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1
from projner.evaluate.f1 import Labelled
from projner.label import Labeller
from tests.conftest import conll

GOLD = str(CORPUS / "test.eng.conll")
TRAIN = str(CORPUS / "train.eng.conll")


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert cli.main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def write(path: Path, labelled: Labelled) -> Path:
    lines = [
        "".join(f"{word}\t_\t{tag}\n" for word, tag in zip(words, line, strict=True)) + "\n"
        for words, line in zip(labelled.tokens, labelled.tags, strict=True)
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def by_stage(demo_models) -> Labelled:
    """What the label stage of a job makes of the gold's sentences."""
    gold = f1.read_labelled(GOLD)
    table = pa.table(
        {
            "source_tokens": pa.array(gold.tokens, pa.list_(pa.string())),
            "status": pa.repeat("ok", len(gold.tokens)),
            "status_detail": pa.nulls(len(gold.tokens), pa.string()),
        }
    )
    labeller = Labeller(config.Label(model=str(demo_models.tagger)))
    labeller.setup()
    found = stage.run(labeller, table)["source_entities"].to_pylist()
    lines = [
        tags.to_tags([tags.Span(e["start"], e["end"], e["label"]) for e in entities], len(words))
        for entities, words in zip(found, gold.tokens, strict=True)
    ]
    return Labelled("stage", gold.tokens, lines)


def test_a_model_is_judged_by_what_the_stage_labels(by_stage, demo_models, capsys, tmp_path):
    path = write(tmp_path / "stage.tsv", by_stage)
    train = ["--train", TRAIN, "--train", GOLD]
    ours = evaluate(capsys, "--model", demo_models.tagger, "--gold", GOLD, *train)
    theirs = evaluate(capsys, "--predicted", path, "--gold", GOLD, *train)
    same = ("overall", "classes", "interval", "lengths", "seen", "confusion")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert ours["overall"]["f1"] > 0.8
    assert ours["interval"]["low"] < ours["overall"]["f1"] < ours["interval"]["high"]
    assert ours["seen"]["unseen"]["support"] == 0
    assert (theirs["cost"], theirs["notes"], theirs["compared"]) == (None, [], [])
    assert ours["cost"]["parameters"] > 100_000
    assert ours["cost"]["words_per_second"] > ours["cost"]["sentences_per_second"] > 0
    assert f"{demo_models.tagger}@sha256:" in ours["signature"]


def test_others_are_beside_it_in_one_table(by_stage, demo_models, capsys, tmp_path):
    """Someone who labels half as much: worse by half the recall, beyond doubt."""
    half = [line if number % 2 else ["O"] * len(line) for number, line in enumerate(by_stage.tags)]
    path = write(tmp_path / "half.tsv", Labelled("half", by_stage.tokens, half))
    options = ["--gold", GOLD, "--compare", demo_models.tagger, "--ignore", "ORG"]
    found = evaluate(capsys, "--predicted", path, *options)
    (other,) = found["compared"]
    gain = other["gain"]
    assert gain["gain"] == pytest.approx(found["overall"]["f1"] - other["overall"]["f1"])
    assert gain["gain"] < -0.2
    assert gain["low"] <= gain["gain"] <= gain["high"] < 0
    assert gain["p"] > 0.99
    assert set(other["classes"]) == {"LOC", "PER"}
    assert cli.main(["evaluate", "--predicted", str(path), *map(str, options)]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = ["labels", "of", "F1", "low", "high", "parameters", "sentences/s", "words/s"]
    assert header in [line.split() for line in lines]
    assert sum(line.strip().startswith(str(demo_models.tagger)) for line in lines) == 2
    assert lines[-1].startswith("signature ")


def test_classes_of_one_side_only_are_told(demo_models, capsys, tmp_path):
    gold = tmp_path / "gold.conll"
    gold.write_text(conll(["[DATE Today] [PER Ada] met [PER Eva] in [GPE Rome]"]), encoding="utf-8")
    guess = tmp_path / "guess.conll"
    guess.write_text(conll(["Today [PER Ada] met [PER Eva] in [LOC Rome]"]), encoding="utf-8")
    by_model = evaluate(capsys, "--model", demo_models.tagger, "--gold", gold)["notes"]
    name = str(demo_models.tagger)
    for label in ("DATE", "GPE"):
        assert any(
            note.startswith(f"{name} does not know {label}: all 1 of gold.conll count as wrong")
            for note in by_model
        )
    (note,) = evaluate(capsys, "--predicted", guess, "--gold", gold)["notes"]
    assert note.startswith(
        "gold.conll has no LOC: all 1 of guess.conll count as wrong; --ignore LOC"
    )


def test_columns_and_parts_of_gold(capsys, tmp_path):
    gold = f1.read_labelled(GOLD)
    numbered = "".join(
        "".join(
            f"{tag} {number} {word} O\n"
            for number, (word, tag) in enumerate(zip(words, line, strict=True))
        )
        + "\n"
        for words, line in zip(gold.tokens, gold.tags, strict=True)
    )
    path = tmp_path / "odd.conll"
    path.write_text(numbered, encoding="utf-8")
    columns = ["--token-column", 2, "--tag-column", 0]
    assert evaluate(capsys, "--gold", path, *columns, "--predicted", GOLD)["overall"]["f1"] == 1
    assert cli.main(["evaluate", "--gold", GOLD, "--predicted", GOLD, "--skip", "1000"]) == 2
    told = capsys.readouterr().err
    assert told == "projner: test.eng.conll: no sentence is left; mend --skip and --limit\n"


def test_what_is_no_model_is_told_in_one_line(capsys, tmp_path):
    for options in (["--model", tmp_path], ["--predicted", GOLD, "--compare", tmp_path]):
        assert cli.main(["evaluate", "--gold", GOLD, *map(str, options)]) == 2
        told = capsys.readouterr().err
        assert told.endswith("has no config.json, so it is not a checkpoint's folder\n")
        assert told.count("\n") == 1


def test_labels_that_are_the_gold_are_sure_and_no_better_than_themselves(capsys):
    found = evaluate(capsys, "--gold", GOLD, "--predicted", GOLD, "--compare", GOLD)
    assert found["interval"] == {"low": 1, "high": 1}
    assert found["compared"][0]["gain"] == {"gain": 0, "low": 0, "high": 0, "p": 1}
