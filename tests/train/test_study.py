"""Studies: which trainings they are made of, what comes out, and that nothing is done twice."""

from __future__ import annotations

import json
import shutil
import statistics
import xml.etree.ElementTree as ET
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from projner import config
from projner.cli import main
from projner.config import Label
from projner.demo.write_corpus import CORPUS
from projner.errors import JobError
from projner.evaluate import f1, tagging
from projner.train import fit, study
from projner.train.config import Training
from projner.train.study import Cell, Study

TEST = str(CORPUS / "test.eng.conll")


def of(**changes: Any) -> Study:
    data = {"runs": ["run"], "gold": ["gold.conll"], "gold_share": 0.5}
    ratios = {"test": "test.conll", **changes.pop("study", {})}
    return Study.model_validate(
        {"model": "m", "data": data, "output": "out", "study": ratios, **changes}
    )


def test_shares_go_each_with_each_and_nothing_is_no_cell():
    made = study.cells(of(study={"gold": [0, 0.5], "runs": [0, 1], "seeds": [3, 4]}))
    first = [Cell(0, 1, 3), Cell(0.5, 0, 3), Cell(0.5, 1, 3)]
    assert made == [*first, *(Cell(cell.gold, cell.runs, 4) for cell in first)]
    assert study.cells(of()) == [Cell(1, 1, seed) for seed in (0, 1, 2)]
    assert study.cells(of(study={"gold": 0.2, "seeds": 7})) == [Cell(0.2, 1, 7)]
    with pytest.raises(JobError, match="every share is 0"):
        study.cells(of(study={"gold": 0, "runs": 0}))


def test_a_cell_is_the_training_file_with_its_shares():
    whole = of(epochs=7)
    made = study.training_of(whole, Cell(0.5, 0, 9))
    assert (made.data.gold_share, made.data.runs) == (0.25, ())
    assert made.data.gold == whole.data.gold
    assert (made.seed, made.epochs, made.output) == (9, 7, "out/cells/gold-0.5-runs-0-seed-9")
    assert study.training_of(whole, Cell(0, 1, 9)).data.gold == ()


def test_teachers_are_something_to_learn_from():
    given = {"model": "m", "teachers": {"runs": ["a"]}, "output": "out"}
    alone = Study.model_validate({**given, "study": {"seeds": [0, 1], "test": TEST}})
    assert study.cells(alone) == [Cell(0, 0, 0), Cell(0, 0, 1)]
    made = study.training_of(alone, Cell(0, 0, 1))
    assert (made.teachers, made.seed) == (alone.teachers, 1)
    beside = of(teachers={"runs": ["a"]}, study={"gold": [0, 1], "runs": 0, "seeds": 0})
    assert study.cells(beside) == [Cell(0, 0, 0), Cell(1, 0, 0)]
    assert study.training_of(beside, Cell(0, 0, 0)).data.gold == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study": {"gold": [2], "test": TEST}}, "study.gold.0: Input should be less than"),
        ({"study": {"runs": [0.5], "test": TEST}}, "study.runs: the section `data` has no `runs`"),
        ({"study": {"seeds": [0]}}, "nothing to score on; give `study.test`, `dev` or both"),
        ({"study": {"seed": [0]}}, "unknown key `seed`; did you mean `seeds`"),
        ({"output": None}, "the study has no `output`"),
    ],
)
def test_what_is_wrong_is_one_line(changes: dict[str, Any], message: str, tmp_path: Path, capsys):
    path = tmp_path / "study.yaml"
    data = {"gold": str(CORPUS / "train.eng.conll")}
    whole = {"model": "m", "data": data, "output": "out", "study": {"test": TEST}}
    path.write_text(yaml.safe_dump({**whole, **changes}), encoding="utf-8")
    assert main(["study", str(path)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_cells_are_trained_once_and_scored_on_the_test(
    demo_models, tmp_path: Path, capsys, monkeypatch
):
    trained = Trained(demo_models.tagger)
    monkeypatch.setattr(fit, "fit", trained)
    monkeypatch.setattr(study.pipeline, "session", nullcontext)
    file = {
        "model": "encoder",
        "data": {"gold": str(CORPUS / "train.eng.conll")},
        "output": str(tmp_path / "out"),
        "study": {"gold": [0.1, 1], "seeds": [0, 1], "test": TEST},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(file), encoding="utf-8")
    # Done by hand, as by an earlier try that was interrupted.
    trained(study.training_of(config.read(path, Study), Cell(0.1, 0, 0)))
    assert main(["study", str(path), "--json"]) == 0
    said = capsys.readouterr()
    assert [(one.data.gold_share, one.seed) for one in trained.done] == [
        (0.1, 0),
        (1, 0),
        (0.1, 1),
        (1, 1),
    ]
    found = json.loads(said.out)
    assert [line[:15] for line in said.err.splitlines()] == [
        f"projner: {number} of 4" for number in (1, 2, 3, 4)
    ]
    gold = f1.read_labelled(TEST)
    for each in found["cells"]:
        cell = Cell(**each["cell"])
        model = tmp_path / "out" / "cells" / cell.name / "model"
        again = tagging.labels_of(Label(model=str(model)), gold)
        assert each["test"] == pytest.approx(f1.evaluate(gold, again).overall.f1)
    small, large = found["rows"]
    figures = [each["test"] for each in found["cells"] if each["cell"]["gold"] == 1]
    assert figures[0] > figures[1]
    assert large["test"]["mean"] == pytest.approx(statistics.mean(figures))
    assert large["test"]["deviation"] == pytest.approx(statistics.stdev(figures))
    assert (small["gold"], small["runs"], small["seeds"], small["dev"]) == (0.1, 0, 2, None)

    # Scored already, too.
    monkeypatch.setattr(tagging, "labels_of", None)
    assert main(["study", str(path)]) == 0
    assert len(trained.done) == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["gold", "runs", "seeds", "F1", "on", "test", "deviation"]
    assert [line.split()[0] for line in lines[2:4]] == ["0.1", "1"]
    assert json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8")) == found
    svg = ET.parse(tmp_path / "out" / "study.svg").getroot()
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}circle")) == 2


class Trained:
    """In the place of trainings: the demo's tagger, of which the second seed's is a poor copy."""

    def __init__(self, tagger: Path) -> None:
        self.tagger = tagger
        self.done: list[Training] = []

    def __call__(self, training: Training) -> fit.Fitted:
        model = Path(str(training.output)) / "model"
        if not model.exists():
            self.done.append(training)
            shutil.copytree(self.tagger, model)
            if training.seed:
                settings = (model / "config.json").read_text(encoding="utf-8")
                for old, new in (("PER", "?"), ("LOC", "PER"), ("?", "LOC")):
                    settings = settings.replace(old, new)
                (model / "config.json").write_text(settings, encoding="utf-8")
        return fit.Fitted(model, f"train:{model.parent.name}", 4, None, [])
