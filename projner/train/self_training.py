"""Self-training: a tagger labels text, and the next one learns from what it is sure of.

```
OUTPUT/
  round-0/          the first training, as `fit` leaves it
  round-1/run-0/    the runs of the first job, labelled by the tagger of round 0
  round-1/          the training on these
  ...
  model/            the best tagger
  result.json       figures of every round; there when the last is finished
```

Each run and each training is one that goes on where it was and does nothing twice, so going through the
rounds again is all that a killed job needs.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from projner import config, pipeline, storage
from projner.config import JobFile
from projner.corpus.index import Index
from projner.errors import JobError
from projner.train.config import SelfTraining, Teachers, Training

if TYPE_CHECKING:
    from projner.train.fit import Fitted

PROBABLE = ("transfer", "ensemble")
"""Methods whose runs have label probabilities."""


def rounds(training: Training, section: SelfTraining, fit: Callable[[Training], Fitted]) -> Fitted:
    """The best of all rounds, each trained by `fit`; figures of all of them.

    Raises JobError for what the user can mend.
    """
    folder = Path(str(training.output)).absolute()
    jobs = [_job_file(path) for path in section.jobs]
    indices = [pipeline.index_of(job.job) for job in jobs]
    alone = training.model_copy(update={"self_training": None})
    with ExitStack() as joined:
        if not (folder / "result.json").exists():
            joined.enter_context(pipeline.session())
        done = [fit(alone.model_copy(update={"output": str(folder / "round-0")}))]
        while len(done) <= section.rounds and _gains(done):
            here = folder / f"round-{len(done)}"
            runs = [
                _labelled(*job, done[-1].model, here / f"run-{number}")
                for number, job in enumerate(zip(jobs, indices, strict=True))
            ]
            taught = tuple(
                Teachers(
                    runs=(run,),
                    labels=section.labels,
                    min_confidence=section.min_confidence,
                    weight=section.weight,
                )
                for run in runs
            )
            done.append(fit(alone.model_copy(update={"teachers": taught, "output": str(here)})))
    return _kept(done, folder)


def _gains(done: Sequence[Fitted]) -> bool:
    """Whether the newest tagger is better than all before."""
    return len(done) < 2 or _f1(done[-1]) > max(map(_f1, done[:-1]))


def _f1(fitted: Fitted) -> float:
    assert fitted.f1 is not None
    return fitted.f1


def _job_file(path: str) -> JobFile:
    """A job whose tagger will be another. Raises JobError where it is of no use here."""
    read = JobFile.read(path)
    method = read.job.project.method
    if method not in PROBABLE:
        raise JobError(
            f"{path}: its method is {method}, whose runs have no label probabilities; set "
            f"project.method to {PROBABLE[0]}"
        )
    return read


def _labelled(file: JobFile, index: Index, model: Path, output: Path) -> str:
    """The run of a job with a tagger of ours, brought up to date."""
    changes = {"label_target": {"model": str(model), "revision": None}, "output": str(output)}
    job: config.Job = file.changed(changes, file.path)
    return str(pipeline.project(job, known=index).run.folder)


def _kept(done: Sequence[Fitted], folder: Path) -> Fitted:
    """Put the best tagger where a single training would have left it."""
    best = max(done, key=_f1)
    history = [
        {"round": float(number), **row}
        for number, fitted in enumerate(done)
        for row in fitted.history
    ]
    kept = replace(best, model=folder / "model", history=history)
    result = {"signature": kept.signature, "steps": kept.steps, "f1": kept.f1, "history": history}
    text, file = json.dumps(result, indent=1), folder / "result.json"
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return kept
    made = folder / f".model.{uuid.uuid4().hex}"
    shutil.copytree(best.model, made)
    shutil.rmtree(kept.model, ignore_errors=True)
    made.rename(kept.model)
    storage.at(file).write(text.encode())
    return kept
