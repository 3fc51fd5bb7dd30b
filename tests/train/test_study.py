"""Studies: which trainings they are made of, what comes out, and that nothing is done twice."""

from __future__ import annotations

import json
import statistics
import xml.etree.ElementTree as ET
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
from projner.train.study import Cell, Study

TEST = str(CORPUS / "test.swh.conll")


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
    data = {"gold": str(CORPUS / "train.swh.conll")}
    whole = {"model": "m", "data": data, "output": "out", "study": {"test": TEST}}
    path.write_text(yaml.safe_dump({**whole, **changes}), encoding="utf-8")
    assert main(["study", str(path)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.slow
def test_cells_are_trained_once_and_scored_on_the_test(
    ray_session: str, demo_models, tmp_path: Path, capsys, monkeypatch
):
    file = {
        "model": str(demo_models.encoder),
        "data": {"gold": str(CORPUS / "train.swh.conll")},
        "output": str(tmp_path / "out"),
        "epochs": 1,
        "batch": 8,
        "learning_rate": 0.003,
        "study": {"gold": 0.2, "seeds": [0, 1], "test": TEST},
        "trackers": ["tensorboard"],
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(file), encoding="utf-8")
    # Done by hand, as by an earlier try that was interrupted.
    lines: list[str] = []
    fit.fit(study.training_of(config.read(path, Study), Cell(0.2, 0, 0)), lines.append)
    assert [line.partition(",")[0] for line in lines] == [f"step {n} of 15" for n in range(1, 16)]
    fits = _Counted(monkeypatch)
    assert main(["study", str(path), "--json"]) == 0
    said = capsys.readouterr()
    assert fits.trained == 1
    # On a busy machine Ray prints, too.
    found = json.loads(said.out.splitlines()[-1])
    assert [line[:15] for line in said.err.splitlines() if line.startswith("projner: ")] == [
        "projner: 1 of 2",
        "projner: 2 of 2",
    ]
    assert [each["cell"]["seed"] for each in found["cells"]] == [0, 1]
    (row,) = found["rows"]
    figures = [each["test"] for each in found["cells"]]
    assert row["test"]["mean"] == pytest.approx(statistics.mean(figures))
    assert row["test"]["deviation"] == pytest.approx(statistics.stdev(figures))
    assert (row["gold"], row["runs"], row["seeds"], row["dev"]) == (0.2, 0, 2, None)

    cell = tmp_path / "out" / "cells" / "gold-0.2-runs-0-seed-1"
    assert list((cell / "tensorboard").iterdir())
    gold = f1.read_labelled(TEST)
    again = tagging.labels_of(Label(model=str(cell / "model")), gold)
    assert f1.evaluate(gold, again).overall.f1 == pytest.approx(figures[1])

    assert main(["study", str(path)]) == 0
    assert fits.trained == 1
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["gold", "runs", "seeds", "F1", "on", "test", "deviation"] in shown
    assert ["0.2", "0", "2"] in [line[:3] for line in shown]
    assert json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8")) == found
    svg = ET.parse(tmp_path / "out" / "study.svg").getroot()
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}circle")) == 1


class _Counted:
    """Trainings that are really done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained, real = 0, fit._train

        def counting(*arguments: Any) -> Any:
            self.trained += 1
            return real(*arguments)

        monkeypatch.setattr(fit, "_train", counting)
