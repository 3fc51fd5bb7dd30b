"""`projner validate`: is a job file right, is everything there that it names, what would be done?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from projner import checkpoints, config, methods, pipeline, storage
from projner.corpus.index import Index
from projner.errors import JobError
from projner.evaluate import compare
from projner.report.table import table
from projner.runs.run import Run, Wanted


@dataclass(frozen=True)
class Planned:
    """A run of the job's chain."""

    name: str
    stages: tuple[str, ...]
    fingerprint: str
    rows: int
    there: int
    """Of its rows, those that an earlier job computed."""


@dataclass(frozen=True)
class Checked:
    """A job that could run."""

    rows: dict[str, int]
    """Sentence pairs of the corpus by target language."""
    rejected: int
    """Of these, rows that something is wrong with."""
    columns: tuple[str, ...]
    """What the corpus gives."""
    models: dict[str, str]
    """Where each model that the job names is."""
    runs: tuple[Planned, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check(job: config.Job) -> Checked:
    """Everything about a job that can be known without running it. Writes nothing, and starts no Ray.

    What `auto` means is settled on this machine; where models run it may be something else, and then
    the fingerprints are others. Raises JobError for the first thing that is wrong.
    """
    job = pipeline.without_gpus(job)
    index = pipeline.index_of(job)
    found = dict(_models(job))
    compare.gold_of(job)
    chain = methods.chain(job, index.columns, index.partial)
    if not job.output:
        raise JobError("the job has no `output`; add one, or give --output DIR")
    runs = storage.at(job.output) / "runs"
    return Checked(
        rows=_rows(index),
        rejected=index.rejected,
        columns=index.columns,
        models=found,
        runs=tuple(_planned(chain, runs, index)),
    )


def as_text(checked: Checked) -> str:
    """What would be done, for a person."""
    given = [name for name in checked.columns if name not in _OWN]
    lines = [
        table(("language", "rows"), list(checked.rows.items())),
        *([f"  {checked.rejected:,} rows are invalid"] if checked.rejected else []),
        "",
        f"given     {', '.join(given)}",
        *(f"model     {name}: {where}" for name, where in checked.models.items()),
        "",
        table(
            ("run", "stages", "rows", "there", "fingerprint"),
            [
                (run.name, ", ".join(run.stages), run.rows, run.there, run.fingerprint)
                for run in checked.runs
            ],
        ),
        "",
        "nothing is to be done" if _done(checked) else "the job can run",
    ]
    return "\n".join(lines)


_OWN = {"id", "revision", "origin", "source_lang", "target_lang", "status", "status_detail"}


def _done(checked: Checked) -> bool:
    return all(run.there == run.rows for run in checked.runs)


def _rows(index: Index) -> dict[str, int]:
    rows: Counter[str] = Counter()
    for chunk in index.chunks:
        rows[chunk.target_lang] += chunk.rows
    return dict(rows)


def _models(job: config.Job) -> Iterator[tuple[str, str]]:
    sections = [job.translate, job.translate_marked, job.label, job.label_target, *job.align]
    for section in sections:
        model = getattr(section, "model", None)
        # eflomal numbers its models.
        if isinstance(model, str):
            yield model, checkpoints.whereabouts(model, getattr(section, "revision", None))


def _planned(chain: list[methods.Segment], runs: storage.Place, index: Index) -> Iterator[Planned]:
    wanted: Wanted | None = Wanted(index.ids, index.revisions)
    for segment in chain:
        run = Run(runs / segment.fingerprint)
        there = 0
        latest = None
        if wanted is not None:
            with suppress(FileNotFoundError):
                missing = run.locate(wanted).missing
                there = int(np.count_nonzero(~missing))
                latest = run.latest() if not missing.any() else None
        wanted = run.handed_on(latest) if latest else None
        stages = tuple(step.name for step in segment.stages)
        yield Planned(segment.name, stages, segment.fingerprint, len(index.ids), there)
