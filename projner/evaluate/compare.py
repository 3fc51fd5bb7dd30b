"""Several projection methods on the same corpora, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projner import config, pipeline
from projner.evaluate import f1


@dataclass(frozen=True)
class Outcome:
    """One method on one corpus."""

    job: str
    method: str
    f1: float | None
    """Against the job's gold, where it names one."""
    rows: int
    labelled: float
    """Share of rows that came out `ok`."""
    entities_per_row: float
    seconds: float
    signature: str


def compare(
    jobs: Mapping[str, config.Job], methods: Mapping[str, config.Project], output: str
) -> list[Outcome]:
    """Run every method on every job under `output`; what methods have in common is done once.

    Raises JobError as `pipeline.project` does, and before the first run for gold that is no gold.
    """
    outcomes = []
    golds = {name: _gold(job) for name, job in jobs.items()}
    with pipeline.session():
        for name, job in jobs.items():
            gold = golds[name]
            for method, project in methods.items():
                folder = str(Path(output) / name)
                chosen = job.model_copy(update={"project": project, "output": folder})
                result = pipeline.project(chosen)
                snapshot = result.snapshot
                evaluation = gold and f1.evaluate(
                    gold, f1.read_labelled(str(result.run.folder)), job.evaluate.ignore
                )
                entities = sum(snapshot.entities.values())
                outcomes.append(
                    Outcome(
                        job=name,
                        method=method,
                        f1=evaluation.overall.f1 if evaluation else None,
                        rows=snapshot.rows,
                        labelled=snapshot.statuses.get("ok", 0) / snapshot.rows,
                        entities_per_row=entities / snapshot.rows,
                        seconds=result.seconds["project"],
                        signature=evaluation.signature if evaluation else snapshot.signature,
                    )
                )
    return outcomes


def grid(outcomes: list[Outcome], figure: str = "f1") -> tuple[list[str], list[list[Any]]]:
    """Header and rows of a table: one row a job, one column a method."""
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    jobs = list(dict.fromkeys(outcome.job for outcome in outcomes))
    cells = {(outcome.job, outcome.method): getattr(outcome, figure) for outcome in outcomes}
    return ["corpus", *methods], [[job, *(cells[job, m] for m in methods)] for job in jobs]


def _gold(job: config.Job) -> f1.Labelled | None:
    if job.evaluate.gold is None:
        return None
    path = Path(job.corpus.root) / job.evaluate.gold
    return f1.read_labelled(str(path), job.corpus.skip, job.corpus.limit)
