"""The rounds of self-training, with trainings and jobs that are only pretended."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

pytest.importorskip("torch", reason="needs the extra projner[models]")

from projner import config, pipeline
from projner.train import fit, self_training
from projner.train.config import Teachers, Training

TEXTS = ("one", "two")


class Pretended:
    """Trainings of a given F1 each, and jobs that label nothing."""

    def __init__(self, *f1: float) -> None:
        self.f1 = f1
        self.trainings: list[Training] = []
        self.jobs: list[config.Job] = []

    def fit(self, training: Training) -> fit.Fitted:
        number = len(self.trainings)
        self.trainings.append(training)
        model = Path(str(training.output)) / "model"
        model.mkdir(parents=True, exist_ok=True)
        (model / "weights").write_text(f"round {number}", encoding="utf-8")
        f1 = self.f1[number]
        return fit.Fitted(model, f"signature {number}", 10 + number, f1, [{"f1": f1}])

    def project(self, job: config.Job, known: object) -> SimpleNamespace:
        self.jobs.append(job)
        return SimpleNamespace(run=SimpleNamespace(folder=f"{job.output}/runs/made"))


@pytest.fixture
def training(tmp_path: Path) -> Training:
    jobs = []
    for name in TEXTS:
        (tmp_path / f"{name}.txt").write_text(f"Sentensi {name} .\n", encoding="utf-8")
        corpus = {
            "format": "text",
            "target": str(tmp_path / f"{name}.txt"),
            "source_lang": "eng_Latn",
            "target_lang": "swh_Latn",
        }
        tagger = {"model": "someone/tagger", "revision": "1", "batch_tokens": 7}
        job = {"corpus": corpus, "label_target": tagger, "project": {"method": "transfer"}}
        jobs.append(tmp_path / f"{name}.yaml")
        jobs[-1].write_text(yaml.safe_dump(job), encoding="utf-8")
    return Training.model_validate(
        {
            "model": "encoder",
            "teachers": {"runs": "first"},
            "data": {"gold": "gold.conll"},
            "dev": "dev.conll",
            "self_training": {"jobs": [*map(str, jobs)], "min_confidence": 0.8, "weight": 0.5},
            "output": str(tmp_path / "out"),
        }
    )


def rounds(training: Training, pretended: Pretended, monkeypatch) -> fit.Fitted:
    monkeypatch.setattr(pipeline, "project", pretended.project)
    monkeypatch.setattr(pipeline, "session", nullcontext)
    assert training.self_training is not None
    return self_training.rounds(training, training.self_training, pretended.fit)


@pytest.mark.parametrize(
    ("f1", "best"),
    [((0.5, 0.4), 0), ((0.5, 0.5), 0), ((0.5, 0.6, 0.55), 1), ((0.5, 0.6, 0.7, 0.8), 3)],
)
def test_the_first_round_that_gains_nothing_is_the_last_and_the_best_is_kept(
    f1, best, training: Training, monkeypatch
):
    # None of them is trained that comes after.
    pretended = Pretended(*f1)
    made = rounds(training, pretended, monkeypatch)
    assert len(pretended.trainings) == len(f1)
    assert made.f1 == f1[best]
    assert made.signature == f"signature {best}"
    assert (made.model / "weights").read_text() == f"round {best}"
    assert made.model.parent == Path(str(training.output))
    assert made.history == [{"round": number, "f1": each} for number, each in enumerate(f1)]
    stored = json.loads((made.model.parent / "result.json").read_text())
    assert stored == {"signature": made.signature, "steps": 10 + best, "f1": f1[best]} | {
        "history": made.history
    }
    # Again, the same comes out.
    assert rounds(training, Pretended(*f1), monkeypatch) == made


def test_in_each_round_the_newest_tagger_labels_every_text_and_teaches(
    training: Training, monkeypatch, tmp_path: Path
):
    pretended = Pretended(0.5, 0.6, 0.1)
    rounds(training, pretended, monkeypatch)
    first, *others = pretended.trainings
    alone = {"self_training": None, "output": str(tmp_path / "out" / "round-0")}
    assert first == training.model_copy(update=alone)
    assert len(pretended.jobs) == 2 * len(TEXTS)
    for number, each in enumerate(others, 1):
        here = tmp_path / "out" / f"round-{number}"
        jobs = pretended.jobs[2 * number - 2 : 2 * number]
        before = tmp_path / "out" / f"round-{number - 1}" / "model"
        for place, (name, job) in enumerate(zip(TEXTS, jobs, strict=True)):
            assert job.corpus.target == (str(tmp_path / f"{name}.txt"),)
            assert job.label_target is not None
            assert job.label_target.model == str(before)
            assert job.label_target.revision is None
            assert job.label_target.batch_tokens == 7
            assert job.output == str(here / f"run-{place}")
        taught = tuple(
            Teachers(
                runs=(f"{job.output}/runs/made",), labels="hard", min_confidence=0.8, weight=0.5
            )
            for job in jobs
        )
        assert each == first.model_copy(update={"teachers": taught, "output": str(here)})
