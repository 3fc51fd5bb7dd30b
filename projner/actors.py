"""Actors that hold the models of a room, and what they do about those that died before them.

Ray starts an actor that died anew and gives it the same batch again, without end: right where a node was
lost, wrong where the batch or the model itself is what kills. So everything that may kill is written
down before it begins, where a death does not reach, and struck out when it is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa
import ray

from projner import metrics, record, stage
from projner.errors import JobError
from projner.placement import Placement
from projner.record import Status
from projner.stage import Stage

DEATHS = 3
"""While a model is loaded, one after the other, or on one and the same row: so many are no accident."""


class Taught(Protocol):
    """A stage with what it has learnt, perhaps not on this machine yet."""

    def ready(self) -> Stage: ...


class Watch:
    """What has begun and is not done, by a name."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        """How often `name` had begun before without being done since."""
        self._begun[name] += 1
        return self._begun[name] - 1

    def done(self, name: str) -> None:
        del self._begun[name]


def watch() -> Any:
    """A `Watch` in a process of its own; it ends with the last handle."""
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    return ray.remote(**options)(Watch).remote()


class Actor:
    """The stages of a room with their models loaded."""

    def __init__(self, taught: Sequence[Taught], where: Placement, run: str, watch: Any) -> None:
        """Load the models.

        Args:
            taught: the stages, in order.
            where: the pool's placement.
            run: the fingerprint of their run.
            watch: a handle of a `Watch`, the same for all actors of the pool and for no others.
        """
        self._steps = [each.ready() for each in taught]
        self._names = ", ".join(step.name for step in self._steps)
        self._run = run
        self._watch = watch
        self._refused: JobError | None = None
        # All actors of a pool may be loading at once.
        if ray.get(watch.begin.remote("load")) >= DEATHS + where.largest:
            self._refused = JobError(
                f"{self._names}: the processes that load the model die; give them more memory (fewer "
                "actors under `resources`, larger nodes), or take a smaller model"
            )
            return
        try:
            for step in self._steps:
                step.setup(where.cpus)
        except JobError as error:
            # Raised with the first batch: if it were raised here, Ray would try other actors.
            self._refused = error
        watch.done.remote("load")

    def __call__(self, table: pa.Table) -> pa.Table:
        if self._refused:
            raise self._refused
        return self._work(table)

    def _work(self, table: pa.Table) -> pa.Table:
        """The table's rows worked on: in halves if processes have died on them already.

        Not `__call__` itself, which Ray makes wait until nobody else is in it.
        """
        ids = table["id"].to_numpy()
        name = f"{ids[0]} {ids[-1]} {len(ids)}" if len(ids) else ""
        deaths = ray.get(self._watch.begin.remote(name))
        if deaths and len(ids) > 1:
            half = len(ids) // 2
            done = pa.concat_tables(
                [self._work(table.slice(0, half)), self._work(table.slice(half))]
            )
        elif deaths >= DEATHS:
            detail = f"{self._names}: {deaths} processes died on this row"
            done = stage.with_status(table, record.is_open(table), Status.ERROR, [detail])
            done = apply(self._steps, self._run, done)
        else:
            done = apply(self._steps, self._run, table)
        self._watch.done.remote(name)
        return done


def apply(steps: Sequence[Stage], run: str, table: pa.Table) -> pa.Table:
    """Run stages, set up already, one after the other, and publish what they cost."""
    for step in steps:
        table = metrics.run_stage(step, table, run)
    return table
