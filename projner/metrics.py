"""What a job publishes while it runs, for Prometheus, and the seconds that its rows cost.

Ray exports each counter under `ray_NAME_total` and adds labels of its own. Work that is repeated after a
loss counts again. The seconds that end up in a run do not: every row carries its share of them, so that
only what was written is summed up.
"""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.util.metrics import Counter

from projner import columns, stage
from projner.record import Status
from projner.stage import Stage

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "projner_sentences": ("Rows written, by their status.", ("run", "language", "status")),
    "projner_entities": (
        "Source entities of the ok rows written: projected, or abstained from.",
        ("run", "language", "outcome"),
    ),
    "projner_stage_seconds": ("Seconds spent in a stage, over all actors.", ("run", "stage")),
    "projner_stage_sentences": ("Rows that went through a stage.", ("run", "stage")),
    "projner_stage_tokens": ("Tokens that a model was given.", ("run", "stage")),
    "projner_stage_padding": ("Padding that a model was given beside them.", ("run", "stage")),
}
"""Name, description and tags of every counter. `run` is the run's fingerprint, `language` the target's."""

_SECONDS = "seconds:"
"""Beginning of the names of the columns that hold, for each row, its share of a step's seconds."""


@cache
def _counter(name: str) -> Counter:
    description, tags = COUNTERS[name]
    return Counter(name, description, tags)


def _add(name: str, value: float, **tags: str) -> None:
    if value > 0:
        _counter(name).inc(value, tags)


def run_stage(step: Stage, table: pa.Table, run: str) -> pa.Table:
    """`stage.run(step, table)`, published, with its seconds in a column of their own.

    `run` is the fingerprint of the run that the rows will be in.
    """
    before = _model_counts(step)
    began = time.perf_counter()
    table = stage.run(step, table)
    seconds = time.perf_counter() - began
    tags = {"run": run, "stage": step.name}
    _add("projner_stage_seconds", seconds, **tags)
    _add("projner_stage_sentences", table.num_rows, **tags)
    for kind, count in _model_counts(step).items():
        _add(f"projner_stage_{kind}", count - before[kind], **tags)
    return with_seconds(table, step.name, seconds)


def _model_counts(step: Stage) -> dict[str, float]:
    """Tokens and padding since `setup`; of a stage made of several, their sums."""
    counts = step.counters()
    return {
        kind: sum(value for name, value in counts.items() if name.split("_")[-1] == kind)
        for kind in ("tokens", "padding")
    }


def with_seconds(table: pa.Table, step: str, seconds: float) -> pa.Table:
    """`table` with the seconds of a step shared out among its rows."""
    share = seconds / max(1, table.num_rows)
    name = _SECONDS + step
    return table.append_column(name, pa.array(np.full(table.num_rows, share)))


def seconds(table: pa.Table) -> dict[str, float]:
    """The seconds that each step took for the rows of `table`."""
    names = [name for name in table.column_names if name.startswith(_SECONDS)]
    return {name.removeprefix(_SECONDS): pc.sum(table[name]).as_py() or 0.0 for name in names}


def written(table: pa.Table, run: str, spent: float) -> dict[str, int]:
    """Publish what a shard holds, and the seconds that writing it took; its rows by status."""
    _add("projner_stage_seconds", spent, run=run, stage="write")
    _add("projner_stage_sentences", table.num_rows, run=run, stage="write")
    by_status: dict[str, int] = {}
    for (language, status), count in statuses(table).items():
        _add("projner_sentences", count, run=run, language=language, status=status)
        by_status[status] = by_status.get(status, 0) + count
    for (language, outcome), count in outcomes(table).items():
        _add("projner_entities", count, run=run, language=language, outcome=outcome)
    return by_status


def statuses(table: pa.Table) -> dict[tuple[str, str], int]:
    """The number of rows by target language and status."""
    counted = table.group_by(["target_lang", "status"]).aggregate([([], "count_all")])
    keys = zip(counted["target_lang"].to_pylist(), counted["status"].to_pylist(), strict=True)
    return dict(zip(keys, counted["count_all"].to_pylist(), strict=True))


def outcomes(table: pa.Table) -> dict[tuple[str, str], int]:
    """The number of source entities of `ok` rows by target language, `projected` and `abstained`."""
    if not {"source_entities", "target_entities"} <= set(table.column_names):
        return {}
    table = table.filter(pc.equal(table["status"], Status.OK.value))
    found: dict[tuple[str, str], int] = {}
    for language in pc.unique(table["target_lang"]).to_pylist():
        rows = table.filter(pc.equal(table["target_lang"], language))
        given = int(columns.lists(rows["source_entities"]).offsets[-1])
        spans = columns.lists(rows["target_entities"], ["source_index"])
        row = np.repeat(np.arange(rows.num_rows), np.diff(spans.offsets))
        # An entity may have several spans.
        projected = len(np.unique(np.stack([row, spans.fields["source_index"]]), axis=1).T)
        found[language, "projected"] = projected
        found[language, "abstained"] = given - projected
    return found
