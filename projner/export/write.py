"""From a run to a file of some format: whole, or not there."""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import yaml

from projner.errors import JobError
from projner.export import annotation, datasets, docbin, text
from projner.export.sentences import Choice, Sentence, sentences
from projner.record import Status
from projner.runs import run as runs

EVERYTHING = Choice()
FORMATS = ("conll", "iob2", "jsonl", "csv", "hf", "spacy", "brat", "label-studio")


def export(location: str, form: str, output: str, choice: Choice = EVERYTHING) -> int:
    """Write the newest snapshot of a run in one of `FORMATS`; the number of sentences written.

    Raises JobError for a run or a format that is not there, and where `output` exists already.
    """
    if form not in FORMATS:
        raise JobError(f"unknown format {form!r}; choose one of {', '.join(FORMATS)}")
    known = [status.value for status in Status]
    unknown = [status for status in choice.statuses if status not in known]
    if unknown:
        raise JobError(f"unknown status {unknown[0]!r}; choose among {', '.join(known)}")
    run = runs.find(location)
    snapshot = run.latest()
    if snapshot is None:
        raise JobError(f"{location}: the run has no snapshot yet; run its job to the end")
    missing = [name for name in choice.classes if name not in snapshot.entities]
    if missing:
        there = ", ".join(snapshot.entities) or "none"
        raise JobError(f"{location}: has no class {missing[0]!r}; there are {there}")
    if choice.languages:
        _check_languages(location, run, choice.languages)
    path = Path(output)
    if path.exists():
        raise JobError(f"{path}: exists already; remove it, or give another --output")
    if not path.parent.is_dir():
        raise JobError(f"{path.parent}: no such folder; make it first")
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    classes = choice.classes or tuple(snapshot.entities)
    try:
        count = itertools.count()
        chosen = (each for each, _ in zip(sentences(run, snapshot, choice), count, strict=False))
        _writer(form, classes, snapshot.signature)(chosen, unfinished)
        os.replace(unfinished, path)
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        else:
            unfinished.unlink(missing_ok=True)
    return next(count)


def _check_languages(location: str, run: runs.Run, wanted: Iterable[str]) -> None:
    there = yaml.safe_load((run.folder / "job.yaml").read())["corpus"]["target_lang"]
    strange = [code for code in wanted if code not in there]
    if strange:
        raise JobError(f"{location}: has no language {strange[0]}; there are {', '.join(there)}")


def _writer(
    form: str, classes: tuple[str, ...], signature: str
) -> Callable[[Iterable[Sentence], Path], None]:
    writers: dict[str, Callable[[Iterable[Sentence], Path], None]] = {
        "conll": text.conll,
        "iob2": text.iob2,
        "jsonl": text.jsonl,
        "csv": text.table,
        "hf": partial(datasets.hf, classes=classes, signature=signature),
        "spacy": docbin.spacy,
        "brat": annotation.brat,
        "label-studio": partial(annotation.label_studio, signature=signature),
    }
    return writers[form]
