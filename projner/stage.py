"""What a stage is, and how one is run on a table so that a bad row costs only itself."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import record
from projner.record import Status

log = logging.getLogger(__name__)


class Stage(ABC):
    """A step of a job: a table in, the same rows out, with `outputs` filled.

    A stage is picklable, is built from a frozen config, loads what is heavy in `setup` (called once
    in each process), and knows nothing of Ray. It may change a row's `status`; it never drops,
    adds or reorders rows. Call it through `run`, which gives it only the rows that need it.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the same config gives other results than before; part of the fingerprint."""
    room: ClassVar[str | None] = None
    """The key of `resources` that sizes this stage's pool of actors; None for a stage that holds no
    model and runs in tasks."""
    environment: str | None = None
    """The Python of another virtual environment that its actors run in; None for the job's own."""
    learns: ClassVar[bool] = False
    """Whether `learn` must see the corpus before any row can be worked on."""
    languages: tuple[str, ...] | None = None
    """Target languages of the rows that it works on, the others staying as they are; None for all."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that decides the results, as JSON values; part of the fingerprint."""

    def resolved(self) -> Stage:
        """This stage with what `auto` means on this machine in its place, where results depend on it.

        A run settles that once, on a machine like those where its models will be.
        """
        return self

    def learn(self, tables: Iterable[pa.Table], folder: Path) -> None:
        """Learn from the corpus and leave the result in `folder`; called once in a run's life.

        `tables` may be gone through several times. A stage that has a `room` is called where one of
        its actors could be, with that actor's CPUs and GPUs.
        """
        raise NotImplementedError

    def recall(self, folder: Path) -> Stage:
        """This stage with what `learn` left in `folder`."""
        raise NotImplementedError

    def fetch(self) -> None:
        """Have what `setup` loads on this machine. Called once on a node, before its actors start."""

    def setup(self, cpus: float | None = None) -> None:
        """Load what is too heavy to be pickled.

        `cpus` is how many CPUs this process may keep busy; as many as there are by default.
        """

    def counters(self) -> Mapping[str, float]:
        """Totals since `setup` that are worth publishing, such as tokens and padded tokens."""
        return {}

    @abstractmethod
    def __call__(self, table: pa.Table) -> pa.Table:
        """Fill `outputs` (and perhaps `status`, `status_detail`) of every row of `table`."""


@dataclass(frozen=True)
class _Each:
    """What a call makes of each table, as often as it is asked for."""

    call: Callable[[pa.Table], pa.Table]
    tables: Iterable[pa.Table]

    def __iter__(self) -> Iterator[pa.Table]:
        return map(self.call, self.tables)


class Renamed(Stage):
    """A stage that works on other columns than its own, which it is shown under its own names."""

    def __init__(self, stage: Stage, names: Mapping[str, str]) -> None:
        """`names`: for a column that the stage knows, the one that takes its place, such as
        `{"links": "marked_links"}`."""
        self._stage = stage
        self._names = dict(names)
        self.name = stage.name  # type: ignore[misc]
        self.version = stage.version  # type: ignore[misc]
        self.room = stage.room  # type: ignore[misc]
        self.learns = stage.learns  # type: ignore[misc]
        self.environment = stage.environment
        self.inputs = tuple(names.get(name, name) for name in stage.inputs)
        self.outputs = tuple(names.get(name, name) for name in stage.outputs)

    def settings(self) -> dict[str, Any]:
        return {**self._stage.settings(), "columns": self._names}

    def resolved(self) -> Stage:
        return self._with(self._stage.resolved())

    def learn(self, tables: Iterable[pa.Table], folder: Path) -> None:
        self._stage.learn(_Each(self._shown, tables), folder)

    def recall(self, folder: Path) -> Stage:
        return self._with(self._stage.recall(folder))

    def fetch(self) -> None:
        self._stage.fetch()

    def setup(self, cpus: float | None = None) -> None:
        self._stage.setup(cpus)

    def counters(self) -> Mapping[str, float]:
        return self._stage.counters()

    def __call__(self, table: pa.Table) -> pa.Table:
        done = self._stage(self._shown(table))
        made = {name: done[name] for name in done.column_names if name not in self._names}
        made |= {
            other: done[name] for name, other in self._names.items() if name in done.column_names
        }
        made |= {name: table[name] for name in self._names if name in table.column_names}
        order = dict.fromkeys([*table.column_names, *made])
        return pa.table({name: made[name] for name in order}, metadata=table.schema.metadata)

    def _with(self, stage: Stage) -> Renamed:
        other = Renamed(stage, self._names)
        other.languages = self.languages
        return other

    def _shown(self, table: pa.Table) -> pa.Table:
        """`table` with some columns under another's name."""
        shown = {name: table[name] for name in table.column_names if name not in self._names}
        for name, other in self._names.items():
            if other in table.column_names:
                shown[name] = table[other]
        return pa.table(shown, metadata=table.schema.metadata)


def run(stage: Stage, table: pa.Table) -> pa.Table:
    """`table` with the stage's outputs filled in the rows that are `ok`, in a language of the stage's,
    and lack one of them (all of them where the stage has no outputs).

    When the stage raises, the rows are halved until the guilty ones stand alone; those get the
    status `error` with the exception in `status_detail`, and the others their results.
    """
    todo = record.is_open(table) & _lacks(table, stage.outputs)
    if stage.languages is not None:
        known = pc.is_in(table["target_lang"], value_set=pa.array(stage.languages))
        todo &= np.asarray(known.combine_chunks())
    given = _with_null_columns(table, stage.outputs)
    if not todo.any():
        return given
    if todo.all():
        return _run_open(stage, given).select(given.column_names)
    done = _run_open(stage, given.filter(pa.array(todo))).select(given.column_names)
    order = np.argsort(np.concatenate([np.flatnonzero(todo), np.flatnonzero(~todo)]))
    rest = given.filter(pa.array(~todo))
    return pa.concat_tables([done, rest]).take(pa.array(order)).combine_chunks()


def _run_open(stage: Stage, table: pa.Table) -> pa.Table:
    try:
        result = stage(table)
    except ImportError:
        raise
    except Exception as error:
        if table.num_rows > 1:
            half = table.num_rows // 2
            parts = [table.slice(0, half), table.slice(half)]
            return pa.concat_tables([_run_open(stage, part) for part in parts])
        log.warning("stage %s failed on a row", stage.name, exc_info=True)
        detail = f"{stage.name}: {type(error).__name__}: {error}"
        return with_status(table, np.ones(1, bool), Status.ERROR, [detail])
    if result.num_rows != table.num_rows:
        raise RuntimeError(
            f"stage {stage.name} returned {result.num_rows} rows for {table.num_rows}"
        )
    return result


def with_status(
    table: pa.Table, rows: np.ndarray, status: Status, details: list[str] | None = None
) -> pa.Table:
    """`table` with `status` set where `rows` (bool, one per row) is true.

    `details`, if given, has one text per true row.
    """
    if not rows.any():
        return table
    mask = pa.array(rows)
    statuses = pc.if_else(mask, status.value, table["status"])
    texts = pa.array(details, pa.string()) if details else pa.nulls(int(rows.sum()), pa.string())
    reasons = pc.replace_with_mask(table["status_detail"].combine_chunks(), mask, texts)
    table = record.with_column(table, "status", statuses)
    return record.with_column(table, "status_detail", reasons)


def _lacks(table: pa.Table, columns: tuple[str, ...]) -> np.ndarray:
    # A stage that has none gives every row a status.
    lacking = np.full(table.num_rows, not columns)
    for name in columns:
        if name not in table.column_names:
            return np.ones(table.num_rows, dtype=bool)
        lacking |= np.asarray(pc.is_null(table[name]).combine_chunks())
    return lacking


def _with_null_columns(table: pa.Table, columns: tuple[str, ...]) -> pa.Table:
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, record.type_of(name)))
    return table
