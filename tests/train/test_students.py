"""Students of teachers and of themselves, through real Ray, with the demo's toy models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch", reason="needs the extra projner[models]")

from projner import config, pipeline
from projner.cli import main
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1, tagging
from projner.report import summary
from projner.train import fit, self_training
from projner.train.config import Training

SENTENCES = 300


def job(folder: Path, language: str, model: Path) -> dict[str, Any]:
    """A job that has a tagger label text of the demo."""
    folder.mkdir(exist_ok=True)
    tokens = f1.read_labelled(str(CORPUS / f"train.{language}.conll"), limit=SENTENCES).tokens
    text = folder / f"{language}.txt"
    text.write_text("".join(" ".join(words) + "\n" for words in tokens), encoding="utf-8")
    languages = {"source_lang": "eng_Latn", "target_lang": "swh_Latn"}
    return {
        "corpus": {"format": "text", "target": str(text), "split": "whitespace", **languages},
        "label_target": {"model": str(model)},
        "project": {"method": "transfer"},
        "output": str(folder / "run"),
    }


@pytest.mark.slow
def test_a_student_of_another_kind_learns_what_its_teacher_knows(
    ray_session, demo_models, tmp_path: Path
):
    taught = job(tmp_path, "eng", demo_models.tagger)
    run = str(pipeline.project(config.build(taught)).run.folder)
    texts = [str(CORPUS / f"train.{name}.conll") for name in ("eng", "swh")]
    # Two teachers that are one: weighed in any way, their mean is the same.
    weights = {"model": str(demo_models.encoder), "texts": texts, "sentences": 50}
    student = {
        "model": str(demo_models.encoder),
        "teachers": {"runs": [run, run], "weights": weights},
        "soft_loss": "kl",
        "layers": 1,
        "dev": str(CORPUS / "test.eng.conll"),
        "output": str(tmp_path / "student"),
        "epochs": 4,
        "learning_rate": 0.003,
    }
    made = fit.fit(Training.model_validate(student))
    assert made.f1 is not None
    assert made.f1 > 0.4
    settings = json.loads((made.model / "config.json").read_text(encoding="utf-8"))
    assert settings["num_hidden_layers"] == 1
    assert f"teachers:{Path(run).name}@1+" in made.signature
    assert (tmp_path / "student" / "weights-0.npz").exists()


@pytest.mark.slow
def test_self_training_goes_on_where_it_was_and_keeps_the_best_round(
    ray_session, demo_models, tmp_path: Path, monkeypatch, capsys
):
    path = tmp_path / "label.yaml"
    path.write_text(yaml.safe_dump(job(tmp_path, "swh", demo_models.tagger)), encoding="utf-8")
    training = Training.model_validate(
        {
            "model": str(demo_models.encoder),
            "data": {"gold": str(CORPUS / "train.swh.conll"), "limit": 200},
            "self_training": {"jobs": str(path), "rounds": 1, "min_confidence": 0.5},
            "dev": str(CORPUS / "test.swh.conll"),
            "output": str(tmp_path / "trained"),
            "epochs": 3,
            "learning_rate": 0.003,
        }
    )

    def dies(alone: Training) -> fit.Fitted:
        if "round-1" in str(alone.output):
            raise KeyboardInterrupt
        return fit.fit(alone)

    with pytest.raises(KeyboardInterrupt):
        self_training.rounds(training, training.self_training, dies)
    labelled = [*(tmp_path / "trained" / "round-1" / "run-0").rglob("data/*.parquet")]
    assert labelled
    assert not (tmp_path / "trained" / "model").exists()

    made = fit.fit(training)
    assert [*(tmp_path / "trained" / "round-1" / "run-0").rglob("data/*.parquet")] == labelled
    rounds = [
        json.loads((tmp_path / "trained" / f"round-{number}" / "result.json").read_text())["f1"]
        for number in (0, 1)
    ]
    assert made.f1 == max(rounds)
    assert made.model == tmp_path / "trained" / "model"
    gold = f1.read_labelled(str(CORPUS / "test.swh.conll"))
    again = tagging.labels_of(config.Label(model=str(made.model)), gold)
    assert f1.evaluate(gold, again).overall.f1 == pytest.approx(made.f1)
    assert {row["round"] for row in made.history} == {0, 1}
    assert summary.of_training(made).split()[0] == "round"

    # All there already: no Ray, no model.
    monkeypatch.setattr(fit, "_work", None)
    assert fit.fit(training) == made


def test_what_is_wrong_is_one_line_and_nothing_is_written(tmp_path: Path, demo_models, capsys):
    wrong = job(tmp_path, "swh", demo_models.tagger) | {"project": {"method": "heuristic"}}
    (tmp_path / "label.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    training = {
        "model": str(demo_models.encoder),
        "data": {"gold": str(CORPUS / "train.swh.conll")},
        "self_training": {"jobs": str(tmp_path / "label.yaml")},
        "output": str(tmp_path / "trained"),
    }
    dev = {"dev": str(CORPUS / "test.swh.conll")}
    nowhere = {"teachers": {"runs": str(tmp_path / "nowhere")}, "self_training": None}
    for changes, message in (
        ({}, "compares its rounds on gold; name some under `dev`"),
        (dev, "its method is heuristic, whose runs have no label probabilities"),
        (nowhere, "no finished run here"),
        ({**dev, "self_training": {"jobs": "no.yaml"}}, "no.yaml: cannot read the job file"),
        (
            {"teachers": {"runs": "a", "weights": {"model": "m", "texts": "t", "modle": "m"}}},
            "unknown key `modle`; did you mean `model`?",
        ),
    ):
        path = tmp_path / "training.yaml"
        path.write_text(yaml.safe_dump({**training, **changes}), encoding="utf-8")
        assert main(["train", str(path)]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert len(told.strip().splitlines()) == 1
        assert not (tmp_path / "trained").exists()
