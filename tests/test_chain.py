"""Chains of commands, as their users run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from projner.cli import main
from projner.demo.write_corpus import CORPUS
from tests.conftest import conll

if TYPE_CHECKING:
    from projner.demo.models import Models

GOLD = ["[PER Ada] met [LOC Rome] .", "It rained ."]
WRONG = ["[PER Ada] met Rome .", "It rained ."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of labels, under a path with a blank."""
    made = tmp_path / "two words"
    made.mkdir()
    (made / "gold.conll").write_text(conll(GOLD))
    (made / "wrong.conll").write_text(conll(WRONG))
    return made


def written(folder: Path, steps: dict[str, str]) -> str:
    path = folder / "chain.yaml"
    path.write_text(
        yaml.safe_dump({"values": {"in": str(folder)}, "steps": steps}, sort_keys=False)
    )
    return str(path)


def evaluate(name: str) -> str:
    return f"evaluate --gold $in/gold.conll --predicted $in/{name}.conll"


def test_figures_of_every_step(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = written(folder, {"all": evaluate("gold"), "half": evaluate("wrong")})
    assert main(["chain", file, "--json"]) == 0
    steps = json.loads(capfd.readouterr().out)
    assert [step["name"] for step in steps] == ["all", "half"]
    found = [step["figures"]["overall"]["f1"] for step in steps]
    assert found == pytest.approx([1, 2 / 3])
    assert main(["chain", file]) == 0
    said = capfd.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()][2:] == ["all", "half", "all"]
    assert "== half: " in said.err
    assert "s, F1 0.667" in said.err


@pytest.mark.slow
def test_from_labels_in_one_language_to_a_tagger_of_another(
    tmp_path: Path, demo_models: Models, capfd: pytest.CaptureFixture[str]
) -> None:
    """The chain of `jobs/lafand`, small: project a bitext, train on it, compare with model transfer."""
    job = {
        "corpus": {
            "format": "bitext",
            "source": str(CORPUS / "train.eng.conll"),
            "target": str(CORPUS / "train.swh.conll"),
            "links": str(CORPUS / "train.eng-swh.pharaoh"),
            "source_lang": "eng_Latn",
            "target_lang": "swh_Latn",
        },
        "output": str(tmp_path / "projected"),
    }
    training = {
        "model": str(demo_models.encoder),
        "data": {"runs": str(tmp_path / "projected"), "negatives": 0.5},
        "epochs": 2,
        "learning_rate": 0.003,
        "output": str(tmp_path / "trained"),
    }
    for name, file in (("job", job), ("training", training)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(file))
    gold = f"--gold {CORPUS / 'test.swh.conll'}"
    steps = {
        "project": "project $in/job.yaml",
        "tagger": "train $in/training.yaml",
        "transfer": f"evaluate --model {demo_models.tagger} {gold}",
        "projection": f"evaluate --model $in/trained/model {gold}",
    }
    file = written(tmp_path, steps)
    assert main(["chain", file]) == 0
    rows = [line.split() for line in capfd.readouterr().out.splitlines()[-5:]]
    assert [row[0] for row in rows] == [*steps, "all"]
    figures = {row[0]: float(row[2]) for row in rows if len(row) == 3}
    assert figures.keys() == {"transfer", "projection"}
    assert figures["projection"] > 0.4


def test_values_can_be_set(folder: Path, tmp_path: Path) -> None:
    file = written(folder, {"all": evaluate("gold")})
    assert main(["chain", file, "--set", f"values.in={tmp_path}"]) == 2
    folder.rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "chain.yaml"
    assert main(["chain", str(moved), "--set", f"values.in={tmp_path / 'elsewhere'}"]) == 0


def test_nothing_follows_a_step_that_fails(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = written(folder, {"first": evaluate("missing"), "second": evaluate("gold")})
    assert main(["chain", file]) == 2
    said = capfd.readouterr()
    assert "missing.conll" in said.err
    assert said.err.splitlines()[-1].startswith("projner: step first: ended with exit code 2")
    assert "second" not in said.err + said.out


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ({"one": "evaluate --gold $out/gold.conll"}, "step one: $out stands for nothing"),
        ({"one": "evaluate --gold $ 5"}, "step one: Invalid placeholder"),
        ({"one": "evaluate --gold 'half"}, "one: No closing quotation"),
        ({"one": "chain chain.yaml"}, "one: give a command of projner"),
        ({"one": ""}, "one: give a command of projner"),
        ({}, "steps"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], steps: dict[str, str], problem: str
) -> None:
    assert main(["chain", written(folder, steps)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line
