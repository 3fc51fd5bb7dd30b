"""The figures of a training as it goes: written by the workers, told and tracked where the command runs.

Rank 0 writes a line for each stretch of steps and each evaluation into `metrics.jsonl`; the command reads
what is new there once a second, and passes it on. So the trackers need nothing but what the user has set
up for them, and no worker waits for them. A step that was taken again, since a worker was lost, stands
there twice and is passed on once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from projner import progress
from projner.errors import JobError
from projner.meanwhile import meanwhile

log = logging.getLogger(__name__)

NAME = "metrics.jsonl"
STRETCHES = 10
"""Lines about the loss between two evaluations."""
EVERY = 1.0
"""Seconds between two looks at what is new."""
PROJECT = "projner"
"""Of MLflow and W&B, unless MLFLOW_EXPERIMENT_NAME and WANDB_PROJECT say another."""

_OF_STEPS = ("loss", "learning_rate", "words_per_second", "enough")
"""What an evaluation has and the stretches before it tell better, or nobody needs."""
_SHOWN = {
    "epoch": "epoch {:.2f}",
    "loss": "loss {:.4f}",
    "f1": "F1 {:.4f}",
    "sentences_per_second": "{:,.0f} sentences/s",
}

Tracker = Literal["tensorboard", "mlflow", "wandb"]
Figures = Mapping[str, float]


class Journal:
    """What rank 0 writes: the mean loss and the speed of each stretch of steps, and evaluations."""

    def __init__(self, folder: Path, evaluate_every: int) -> None:
        self._path = folder / NAME
        self._every = max(1, evaluate_every // STRETCHES)
        self._forget()

    def _forget(self) -> None:
        self._losses: list[float] = []
        self._sentences = 0
        self._seconds = 0.0

    def step(
        self, step: int, of_epoch: int, rate: float, loss: float, sentences: int, seconds: float
    ) -> None:
        """The step `step` was taken, of so many of an epoch: its loss, its sentences over all workers,
        and how long it took; and the learning rate of the next."""
        self._losses.append(loss)
        self._sentences += sentences
        self._seconds += seconds
        if step % self._every == 0:
            self._write(
                {
                    "step": step,
                    "epoch": step / of_epoch,
                    "loss": sum(self._losses) / len(self._losses),
                    "learning_rate": rate,
                    "sentences_per_second": self._sentences / max(self._seconds, 1e-9),
                }
            )
            self._forget()

    def evaluated(self, figures: Figures, measured: bool) -> None:
        """An evaluation came after the newest step. `measured`: whether F1 was."""
        left = {*_OF_STEPS, *(() if measured else ("f1",))}
        found = {name: value for name, value in figures.items() if name not in left}
        if {*found} > {"step", "epoch"}:
            self._write(found)

    def _write(self, figures: Figures) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")


class Sink(Protocol):
    """Where figures go."""

    def log(self, step: int, figures: Figures) -> None: ...

    def close(self) -> None: ...


def check(trackers: Sequence[Tracker] | None) -> None:
    """Raises JobError for a tracker that was asked for and is not installed."""
    for name in trackers or ():
        if find_spec(name) is None:
            raise JobError(f"trackers: {name} is not installed: pip install {name}")


def sinks(
    trackers: Sequence[Tracker] | None, folder: Path, key: str, settings: Mapping[str, Any]
) -> list[Sink]:
    """The trackers that were asked for; TensorBoard where nothing is said and it is there.

    Args:
        trackers: their names.
        folder: the training's output.
        key: tells this training from others, so that one that goes on stays one run.
        settings: the training's.

    Raises JobError for one that cannot begin.
    """
    by_default: tuple[Tracker, ...] = ("tensorboard",) if find_spec("tensorboard") else ()
    makers: dict[Tracker, Callable[[], Sink]] = {
        "tensorboard": lambda: _TensorBoard(folder),
        "mlflow": lambda: _MLflow(folder, key, settings),
        "wandb": lambda: _Wandb(folder, key, settings),
    }
    return [_made(name, makers[name]) for name in (by_default if trackers is None else trackers)]


def _made(name: Tracker, make: Callable[[], Sink]) -> Sink:
    try:
        return make()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise JobError(f"trackers: {name}: {reason}") from error


@contextmanager
def following(folder: Path, to: Sequence[Sink]) -> Iterator[None]:
    """Pass on what is written into the journal in here, as it comes, and close the sinks at the end.

    No training ends because one fails: it gets nothing more, and a warning says so.
    """
    path = folder / NAME
    open_sinks = [*to]
    place, last = _read(path, 0, -1, [])

    def follow() -> None:
        nonlocal place, last
        place, last = _read(path, place, last, open_sinks)

    try:
        with meanwhile(follow, EVERY, "projner-trackers"):
            yield
    finally:
        _read(path, place, last, open_sinks)
        for sink in [*open_sinks]:
            _try(sink.close, sink, open_sinks)


def _read(path: Path, place: int, last: int, to: list[Sink]) -> tuple[int, int]:
    """Pass on whole lines from a byte on that are news after `last`; the next byte and the new last."""
    if not path.exists():
        return place, last
    with path.open("rb") as file:
        file.seek(place)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    for line in whole.splitlines():
        try:
            figures = json.loads(line)
        except ValueError:
            # A worker died while it wrote.
            continue
        # An evaluation comes after the stretch that ends with its step.
        order = 2 * int(figures.pop("step")) + ("sentences_per_second" not in figures)
        if order > last:
            last = order
            for sink in [*to]:
                _try(partial(sink.log, order // 2, figures), sink, to)
    return place + len(whole), last


def _try(call: Callable[[], None], sink: Sink, among: list[Sink]) -> None:
    try:
        call()
    except Exception as error:
        log.warning("%s failed, and gets no more figures: %s", type(sink).__name__, error)
        among.remove(sink)


class Told:
    """A line of text for each evaluation and stretch of steps."""

    def __init__(self, tell: Callable[[str], None], steps: int) -> None:
        self._tell, self._steps = tell, steps

    def log(self, step: int, figures: Figures) -> None:
        parts = [f"step {step:,} of {self._steps:,}"]
        parts += [form.format(figures[name]) for name, form in _SHOWN.items() if name in figures]
        self._tell(", ".join(parts))

    def close(self) -> None:
        pass


class Watched:
    """The progress of the command, for whoever watches it."""

    def __init__(self, steps: int) -> None:
        self._progress = progress.current()
        self._progress.begin("training", steps, unit="steps")
        self._progress.does("starting the workers")
        self._newest: dict[str, float] = {}

    def log(self, step: int, figures: Figures) -> None:
        self._newest.update({n: figures[n] for n in ("loss", "f1") if n in figures})
        self._progress.does("training")
        self._progress.reach(step, self._newest)

    def close(self) -> None:
        self._progress.end()


class _TensorBoard:
    """Event files in the training's folder: `tensorboard --logdir OUTPUT`."""

    def __init__(self, folder: Path) -> None:
        self._writer = import_module("torch.utils.tensorboard").SummaryWriter(
            str(folder / "tensorboard")
        )

    def log(self, step: int, figures: Figures) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """A run of an experiment, at the server that MLFLOW_TRACKING_URI names."""

    def __init__(self, folder: Path, key: str, settings: Mapping[str, Any]) -> None:
        client = self._client = import_module("mlflow").MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        runs = client.search_runs([experiment], f"tags.projner = '{key}'", max_results=1)
        if runs:
            self._run = runs[0].info.run_id
            client.update_run(self._run, status="RUNNING")
            return
        tags = {"projner": key}
        run = client.create_run(experiment, tags=tags, run_name=folder.name)
        self._run = run.info.run_id
        for parameter, value in settings.items():
            # Longer ones are refused.
            client.log_param(self._run, parameter, str(value)[:500])

    def log(self, step: int, figures: Figures) -> None:
        for name, value in figures.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


class _Wandb:
    """A run of a project, with the key of WANDB_API_KEY, or offline with WANDB_MODE=offline."""

    def __init__(self, folder: Path, key: str, settings: Mapping[str, Any]) -> None:
        self._run = import_module("wandb").init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=key,
            resume="allow",
            name=folder.name,
            dir=str(folder),
            config=dict(settings),
        )

    def log(self, step: int, figures: Figures) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()
