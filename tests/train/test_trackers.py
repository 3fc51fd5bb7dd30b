"""What trackers are told: by the real TensorBoard, and by recorders in the place of MLflow and W&B,
which take the calls whose names and arguments those have."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner.errors import JobError
from projner.train import trackers
from projner.train.trackers import Journal, following, sinks

EVALUATED = {"step": 20, "epoch": 1.0, "loss": 9.0, "f1": 0.5, "enough": 0.0, "tags_loss": 0.25}


def write(folder: Path, first: int = 1, last: int = 20, evaluate_every: int = 20) -> None:
    journal = Journal(folder, evaluate_every)
    for step in range(first, last + 1):
        journal.step(step, 10, 0.1 / step, loss=float(step), sentences=32, seconds=0.5)
    if last == 20:
        journal.evaluated(EVALUATED, measured=True)


class Kept:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = 0

    def log(self, step: int, figures: Any) -> None:
        self.rows.append((step, dict(figures)))

    def close(self) -> None:
        self.closed += 1


def test_stretches_are_means_and_evaluations_follow_them(tmp_path: Path):
    kept = Kept()
    with following(tmp_path, [kept]):
        write(tmp_path)
        Journal(tmp_path, 20).evaluated({"step": 21, "epoch": 1, "f1": 21.0}, measured=False)
    assert kept.closed == 1
    assert [step for step, _ in kept.rows] == [*range(2, 21, 2), 20]
    first, *_, evaluation = [figures for _, figures in kept.rows]
    rest = {"learning_rate": 0.05, "sentences_per_second": 64.0}
    assert first == {"epoch": 0.2, "loss": 1.5, **rest}
    assert evaluation == {"epoch": 1.0, "f1": 0.5, "tags_loss": 0.25}


@settings(max_examples=20)
@given(st.lists(st.integers(0, 9), max_size=3))
def test_what_was_there_or_is_done_again_is_passed_on_once(tmp_path_factory, lost: list[int]):
    """Workers are lost, and go on from the beginning, after so many steps."""
    folder, kept = tmp_path_factory.mktemp("journal"), Kept()
    write(folder, last=4)
    with following(folder, [kept]):
        for steps in lost:
            write(folder, last=steps)
        write(folder)
    assert [step for step, _ in kept.rows] == [*range(6, 21, 2), 20]


def test_figures_come_while_the_training_runs(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(trackers, "EVERY", 0.01)
    kept = Kept()
    with following(tmp_path, [kept]):
        write(tmp_path, last=2)
        for _ in range(3000):
            if kept.rows:
                break
            time.sleep(0.01)
        assert [step for step, _ in kept.rows] == [2]
        # A line that is not whole yet, and never will be.
        with (tmp_path / trackers.NAME).open("a") as file:
            file.write('{"step": 4')
        write(tmp_path, first=3, last=6)
    assert [step for step, _ in kept.rows] == [2, 6]


def test_a_person_reads_a_line_at_a_time(tmp_path: Path):
    lines: list[str] = []
    with following(tmp_path, [trackers.Told(lines.append, 1234)]):
        write(tmp_path)
    assert lines[0] == "step 2 of 1,234, epoch 0.20, loss 1.5000, 64 sentences/s"
    assert lines[-1] == "step 20 of 1,234, epoch 1.00, F1 0.5000"


def test_what_is_asked_for_and_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(JobError, match="wandb is not installed: pip install wandb"):
        trackers.check(["wandb"])
    trackers.check(None)
    assert sinks(None, Path(), "key", {}) == []


def test_a_tracker_that_fails_ends_no_training(tmp_path: Path, caplog, monkeypatch):
    class Fails(Kept):
        def log(self, step: int, figures: Any) -> None:
            super().log(step, figures)
            raise ConnectionError("no network")

    fails, kept = Fails(), Kept()
    with following(tmp_path, [fails, kept]):
        write(tmp_path)
    assert (len(fails.rows), fails.closed) == (1, 0)
    assert (len(kept.rows), kept.closed) == (11, 1)
    assert [record.message for record in caplog.records] == [
        "Fails failed, and gets no more figures: no network"
    ]

    def refuse(**options: Any) -> None:
        raise RuntimeError("no API key\nlog in")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    with pytest.raises(JobError, match=r"trackers: wandb: no API key$"):
        sinks(["wandb"], tmp_path, "key", {})


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    pytest.importorskip("torch", reason="needs the extra projner[models]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with following(tmp_path, sinks(None, tmp_path, "key", {})):
        write(tmp_path)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    losses = [(event.step, event.value) for event in found.Scalars("loss")]
    assert losses == [(step, step - 0.5) for step in range(2, 21, 2)]
    assert [(event.step, event.value) for event in found.Scalars("f1")] == [(20, 0.5)]


class Client:
    """MLflow's client, as far as it is called, for one server."""

    experiments: dict[str, str]
    runs: dict[str, SimpleNamespace]

    def get_experiment_by_name(self, name: str) -> Any:
        known = self.experiments.get(name)
        return known and SimpleNamespace(experiment_id=known)

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, str(len(self.experiments)))

    def search_runs(
        self, experiment_ids: list[str], filter_string: str = "", max_results: int = 1000
    ) -> list[SimpleNamespace]:
        key = filter_string.removeprefix("tags.projner = '").removesuffix("'")
        return [run for run in self.runs.values() if run.tags == {"projner": key}][:max_results]

    def create_run(self, experiment_id: str, tags: Any = None, run_name: Any = None) -> Any:
        made = {"info": SimpleNamespace(run_id=str(len(self.runs))), "tags": tags, "name": run_name}
        run = SimpleNamespace(**made, params={}, metrics=[], status="RUNNING")
        return self.runs.setdefault(run.info.run_id, run)

    def update_run(self, run_id: str, status: str | None = None) -> None:
        self.runs[run_id].status = status

    def log_param(self, run_id: str, key: str, value: Any) -> None:
        self.runs[run_id].params[key] = value

    def log_metric(self, run_id: str, key: str, value: float, *, step: int | None = None) -> None:
        self.runs[run_id].metrics.append((key, value, step))

    def set_terminated(self, run_id: str, status: str | None = None) -> None:
        self.runs[run_id].status = status or "FINISHED"


def test_mlflow_gets_one_run_for_a_training_that_goes_on(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Client, "experiments", {}, raising=False)
    monkeypatch.setattr(Client, "runs", {}, raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "swahili")
    for first, last in ((1, 10), (11, 20)):
        with following(tmp_path, sinks(["mlflow"], tmp_path, "key", {"epochs": 3})):
            write(tmp_path, first, last)
    assert list(Client.experiments) == ["swahili"]
    (run,) = Client.runs.values()
    assert (run.name, run.params, run.status) == (tmp_path.name, {"epochs": "3"}, "FINISHED")
    assert [step for key, _, step in run.metrics if key == "loss"] == list(range(2, 21, 2))
    assert ("f1", 0.5, 20) in run.metrics


def test_wandb_gets_a_run_that_can_be_resumed(tmp_path: Path, monkeypatch):
    logged: list[tuple[dict[str, float], int]] = []
    given: dict[str, Any] = {}

    def init(**options: Any) -> Any:
        given.update(options)
        return SimpleNamespace(
            log=lambda data, step: logged.append((data, step)), finish=lambda: given.pop("id")
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with following(tmp_path, sinks(["wandb"], tmp_path, "key", {"epochs": 3})):
        write(tmp_path)
        assert (given["id"], given["resume"], given["project"]) == ("key", "allow", "projner")
    assert "id" not in given
    assert logged[-1] == ({"epoch": 1.0, "f1": 0.5, "tags_loss": 0.25}, 20)
