"""Training through real Ray Train, on the demo corpus, from the demo's toy encoder."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from projner import config
from projner.cli import main
from projner.demo.write_corpus import CORPUS
from projner.errors import JobError
from projner.evaluate import f1, tagging
from projner.train import fit, loop
from projner.train.config import Gold, Training
from tests.train.dying import DiesOnce

STEPS = 38


@pytest.fixture
def training(demo_models, tmp_path: Path) -> dict[str, Any]:
    return {
        # Workers start in a folder of their own.
        "model": os.path.relpath(demo_models.encoder),
        "data": {"gold": str(CORPUS / "train.swh.conll")},
        "dev": str(CORPUS / "test.swh.conll"),
        "output": str(tmp_path / "trained"),
        "epochs": 2,
        "learning_rate": 0.003,
    }


def fitted(training: dict[str, Any], **changes: Any) -> fit.Fitted:
    return fit.fit(Training.model_validate({**training, **changes}))


@pytest.mark.slow
def test_the_tagger_works_everywhere_and_a_lost_worker_costs_no_step(
    ray_session, training: dict[str, Any], tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(fit, "_work", DiesOnce(tmp_path / "died", step=25))
    told: list[str] = []
    made = fit.fit(Training.model_validate(training), told.append)
    assert (tmp_path / "died").exists()
    assert made.steps == STEPS
    # What was done again is told once.
    assert [line.partition(",")[0] for line in told if "loss" in line] == [
        f"step {step} of {STEPS}" for step in range(1, STEPS + 1)
    ]
    assert f"step {STEPS} of {STEPS}, epoch 2.00, F1 {made.history[-1]['f1']:.4f}" in told
    tracked = tmp_path / "trained" / "tensorboard"
    assert tracked.is_dir() == (find_spec("tensorboard") is not None)
    assert [row["step"] for row in made.history] == [STEPS / 2, STEPS]
    assert made.f1 == max(row["f1"] for row in made.history) > 0.4

    from transformers import pipeline

    tagger = pipeline("token-classification", str(made.model), aggregation_strategy="first")
    assert {entity["entity_group"] for entity in tagger("Wangari Maathai alizaliwa Nyeri .")} <= {
        "PER",
        "LOC",
        "ORG",
    }
    assert made.signature in (made.model / "README.md").read_text(encoding="utf-8")

    gold = f1.read_labelled(str(CORPUS / "test.swh.conll"))
    again = tagging.labels_of(config.Label(model=str(made.model)), gold)
    assert f1.evaluate(gold, again).overall.f1 == pytest.approx(made.f1)

    # All there already: no Ray, no model.
    monkeypatch.setattr(fit, "_work", None)
    assert fitted(training) == made
    with pytest.raises(JobError, match=r"made with other settings \(epochs\)"):
        fitted(training, epochs=3)


def test_a_group_of_workers_may_grow_and_shrink(training: dict[str, Any], monkeypatch):
    """What Ray Train is asked for; a cluster that changes is not here."""
    asked: dict[str, Any] = {}

    class Asked:
        def __init__(self, work: Any, **given: Any) -> None:
            asked.update(given)

        def fit(self) -> None:
            pass

    monkeypatch.setattr(fit.ray.train.torch, "TorchTrainer", Asked)
    monkeypatch.setattr(fit.ray, "cluster_resources", lambda: {"CPU": 8.0})
    monkeypatch.setattr(fit.ray.data, "read_parquet", lambda folder: folder)
    workers = {"count": [1, 4], "max_failures": -1}
    settings = Training.model_validate({**training, "workers": workers, "device": "cpu"})
    fit._train(loop.Plan(settings, None, 64, 8, None), Path("out"))
    scaling = asked["scaling_config"]
    assert scaling.elasticity_enabled
    assert (scaling.min_workers, scaling.max_workers) == (1, 4)
    assert scaling.resources_per_worker == {"CPU": 1.0}
    assert asked["run_config"].failure_config.max_failures == -1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "TAGGER", "data": {"gold": "DATES"}}, "is a tagger without DATE"),
        ({"dev": "DATES"}, "has DATE, which the training data do not"),
        ({"max_tokens": 100_000}, "fewer than max_tokens"),
        ({"layers": 99}, "layers, fewer than `layers` (99)"),
        ({"patience": 2, "dev": None}, "patience needs gold under `dev`"),
        ({"data": {}}, "names nothing to learn from"),
        ({"workers": {"count": [3, 2]}}, "the least and the most of at least 1"),
        ({"auxiliary": {"path": "DATES"}}, "CoNLL-U has 10 columns"),
        (
            {"auxiliary": {"path": "DATES", "column": "pos"}},
            "auxiliary.0.column: Input should be 'upos'",
        ),
        ({"epoch": 2}, "unknown key `epoch`; did you mean `epochs`"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    changes: dict[str, Any], message: str, training, demo_models, tmp_path: Path, capsys
):
    dates = tmp_path / "dates.conll"
    dates.write_text("Jumatatu B-DATE\n", encoding="utf-8")
    text = yaml.safe_dump({**training, **changes})
    text = text.replace("TAGGER", str(demo_models.tagger)).replace("DATES", str(dates))
    path = tmp_path / "training.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["train", str(path)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "trained").exists()


def test_dev_is_read_as_gold_is():
    made = Training.model_validate({"model": "m", "data": {"gold": "a"}, "dev": "b"})
    assert made.dev == Gold(path="b")
    assert json.loads(made.model_dump_json())["data"]["gold"][0]["path"] == "a"
