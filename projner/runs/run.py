"""A run folder: its shards, its snapshots, and the order of its rows.

```
OUT/runs/FINGERPRINT/
  job.yaml              what the fingerprint was made of
  data/*.parquet        shards: each is whole or is not there, and none is ever changed
  index/*.parquet       a snapshot's rows in corpus order: id, revision, file, position, shard
  snapshots/N.json      the shards and the index that snapshot N is made of, and its counts
  steps/                results of corpus-wide steps, such as the priors of an aligner
  corrections/*.parquet labels that people gave; see `projner.runs.corrections`
  lease/                who writes here
```

The shards are the ledger: rows in whole shards are done. A row can be in several, because a task was
repeated or because the row was retried; then the newest attempt counts. Readers read snapshots, never a
listing.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from projner import record, storage
from projner.errors import JobError
from projner.record import Status
from projner.storage import Place

Ints = npt.NDArray[Any]

READERS = 8
"""Shards that are read at once, for an object store answers slowly."""
_SECONDS = b"projner.seconds"
_CORRECTED = "|corrected:"
_STATUSES = [status.value for status in Status]


@dataclass(frozen=True)
class Snapshot:
    """A published state of a run: which shards, which of their rows, and what became of them."""

    number: int
    fingerprint: str
    parent: str | None
    """Fingerprint of the run that this one read."""
    parent_snapshot: int | None
    created: str
    signature: str
    rows: int
    statuses: dict[str, int]
    entities: dict[str, int]
    """Projected ones by class."""
    abstained: int
    """Entities that were too doubtful."""
    filtered: dict[str, int]
    """Rows that a filter of the projection took out, by its name."""
    shards: tuple[str, ...]
    index: str
    corpus: dict[str, Any]
    """Where the sentences came from, as the job has it."""
    seconds: dict[str, float]
    """What each step took for the rows in `shards`, over all actors."""
    corrected: int = 0
    """Rows whose labels people gave."""


@dataclass(frozen=True)
class Wanted:
    """The rows that a run should hold, in corpus order."""

    ids: Ints
    """(n,) int64, unique."""
    revisions: Ints
    """(n,) int64: see the record's column."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Located:
    """Where a run has rows that are wanted of it."""

    shards: tuple[str, ...]
    shard_of: Ints
    """(n,) int32 index into `shards`, -1 where no shard has the row."""
    status: Ints | None = None
    """(n,) int8 index into the values of `Status`, where asked for; undefined for missing rows."""
    attempts: int = 0
    """The number of the newest attempt, over all shards."""

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Rows that are in no shard."""
        return self.shard_of < 0

    def with_status(self, statuses: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Rows that are in a shard with one of `statuses`."""
        assert self.status is not None
        numbers = [_STATUSES.index(status) for status in statuses]
        return ~self.missing & np.isin(self.status, numbers)


class Run:
    """One run folder. Creating the object touches nothing on disk."""

    def __init__(self, folder: str | os.PathLike[str] | Place):
        self.folder = storage.at(folder)

    @property
    def fingerprint(self) -> str:
        return self.folder.name

    def begin(self, settings: dict[str, Any]) -> None:
        """Make the folder and write its settings; the same settings may be there already.

        Raises JobError when the folder holds a run made with other settings, or cannot be made.
        """
        text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
        path = self.folder / "job.yaml"
        try:
            for name in ("data", "index", "snapshots", "steps"):
                (self.folder / name).make()
            if path.create(text.encode()):
                return
        except OSError as error:
            reason = error.strerror or str(error).partition("\n")[0]
            raise JobError(
                f"{self.folder}: cannot be made: {reason}; give another --output"
            ) from None
        stored = yaml.safe_load(path.read())
        if stored != settings:
            keys = ", ".join(sorted(_differing(stored, settings)))
            raise JobError(
                f"{self.folder}: this run was made with other settings ({keys}); "
                "give another --output"
            )

    def write_shard(
        self, table: pa.Table, seconds: Mapping[str, float] | None = None, attempt: int = 0
    ) -> str:
        """Write `table` as one shard under a name of its own, and return that.

        `seconds`, if given, says how long each step took for these rows; it goes into the metadata.
        """
        # Rows of other shards were counted there.
        metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k != _SECONDS}
        if seconds:
            metadata[_SECONDS] = json.dumps(dict(seconds)).encode()
        table = table.replace_schema_metadata(metadata)
        moment = f"{time.time_ns() // 1_000_000:012x}"
        name = f"{attempt:04}-{moment}-{uuid.uuid4().hex[:12]}.parquet"
        with self._explained():
            (self.folder / "data" / name).write_table(table)
        return name

    def keep_beside(self, folder: str, name: str, table: pa.Table) -> None:
        """Write a table that is no shard into a folder of the run's own."""
        with self._explained():
            (self.folder / folder).make()
            (self.folder / folder / name).write_table(table)

    def locate(self, wanted: Wanted, statuses: bool = False) -> Located:
        """Where the rows that are wanted are: of several shards, in that of the newest attempt."""
        names = self._shards_by_merit()
        shard_of = np.full(len(wanted), -1, np.int32)
        status = np.zeros(len(wanted), np.int8) if statuses else None
        order = np.argsort(wanted.ids, kind="stable")
        columns = ["id", "revision", *(["status"] if statuses else [])]
        for number, shard in enumerate(self._read_all(names, columns)):
            rows, held = _matches(wanted, order, shard)
            new = shard_of[rows] < 0
            shard_of[rows[new]] = number
            if status is not None:
                status[rows[new]] = _status_numbers(shard)[held][new]
        # Numbers of the shards that are used, in the order of their names.
        used = np.unique(shard_of[shard_of >= 0])
        kept = sorted((names[number], number) for number in used.tolist())
        renumbered = np.full(len(names) + 1, -1, np.int32)
        for new_number, (_, number) in enumerate(kept):
            renumbered[number] = new_number
        attempts = max((attempt_of(name) for name in names), default=0)
        # The last place is for -1.
        return Located(tuple(name for name, _ in kept), renumbered[shard_of], status, attempts)

    def publish(
        self,
        wanted: Wanted,
        origins: pa.Table,
        *,
        parent: tuple[str, int] | None = None,
        signature: str,
        corpus: dict[str, Any] | None = None,
        written: Sequence[str] = (),
        confirm: Callable[[], None] = lambda: None,
    ) -> Snapshot:
        """Publish the rows that are wanted as the next snapshot.

        Args:
            wanted: the rows.
            origins: `file` and `position` of each row.
            parent: fingerprint and snapshot number of the run that this one read.
            signature: how the rows were made, in one line; how many people corrected is added.
            corpus: where the sentences came from.
            written: names of shards that must be there.
            confirm: called last of all; what it raises keeps the snapshot from being published.

        Raises RuntimeError, and publishes nothing, when shards, rows and statuses do not add up.
        Raises JobError when another job published meanwhile.
        """
        lost = set(written) - set((self.folder / "data").files())
        if lost:
            raise RuntimeError(f"{self.folder}: {len(lost)} shards that were written are not there")
        located = self.locate(wanted)
        if located.missing.any():
            raise RuntimeError(
                f"{self.folder}: {located.missing.sum()} of {len(wanted)} rows are in no shard"
            )
        counted = self._count(wanted, located)
        statuses = counted.statuses
        if sum(statuses.values()) != len(wanted) or not set(statuses) <= set(_STATUSES):
            raise RuntimeError(
                f"{self.folder}: the rows' statuses {dict(statuses)} do not add up to {len(wanted)}"
            )
        latest = self.latest()
        number = latest.number + 1 if latest else 1
        index = f"{number:06}-{uuid.uuid4().hex[:12]}.parquet"
        columns = {
            "id": pa.array(wanted.ids),
            "revision": pa.array(wanted.revisions),
            "file": origins["file"],
            "position": origins["position"],
            "shard": pa.array(located.shard_of),
        }
        with self._explained():
            (self.folder / "index" / index).write_table(pa.table(columns))
        snapshot = Snapshot(
            number=number,
            fingerprint=self.fingerprint,
            parent=parent[0] if parent else None,
            parent_snapshot=parent[1] if parent else None,
            created=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            signature=_with_corrected(signature, counted.corrected),
            rows=len(wanted),
            statuses=dict(sorted(statuses.items())),
            entities=dict(sorted(counted.entities.items())),
            abstained=counted.abstained,
            filtered=dict(sorted(counted.filtered.items())),
            shards=located.shards,
            index=index,
            corpus=corpus or {},
            seconds=dict(sorted(counted.seconds.items())),
            corrected=counted.corrected,
        )
        if not np.array_equal(self.ids(snapshot), wanted.ids):
            raise RuntimeError(f"{self.folder}: the index was not stored as it was written")
        confirm()
        text = json.dumps(asdict(snapshot), indent=1).encode()
        with self._explained():
            created = (self.folder / "snapshots" / f"{number:06}.json").create(text)
        if not created:
            raise JobError(
                f"{self.folder}: another job published snapshot {number} meanwhile; run the same "
                "command again"
            )
        return snapshot

    def snapshots(self) -> list[int]:
        """The numbers of the snapshots there are, from the first to the newest."""
        names = (self.folder / "snapshots").files()
        return sorted(int(name[:-5]) for name in names if name.endswith(".json"))

    def snapshot(self, number: int) -> Snapshot:
        """A snapshot by its number. Raises JobError when there is none."""
        try:
            text = (self.folder / "snapshots" / f"{number:06}.json").read()
        except FileNotFoundError:
            there = ", ".join(map(str, self.snapshots())) or "none"
            raise JobError(f"{self.folder}: has no snapshot {number}; there are {there}") from None
        stored = json.loads(text)
        known = [each.name for each in fields(Snapshot) if each.name in stored]
        return Snapshot(**{**{k: stored[k] for k in known}, "shards": tuple(stored["shards"])})

    def latest(self) -> Snapshot | None:
        """The newest snapshot, if there is one."""
        numbers = self.snapshots()
        return self.snapshot(numbers[-1]) if numbers else None

    def index(self, snapshot: Snapshot) -> pa.Table:
        """A snapshot's rows in corpus order: `id`, `revision`, `file`, `position`, `shard`."""
        return (self.folder / "index" / snapshot.index).read_table()

    def ids(self, snapshot: Snapshot) -> Ints:
        """The ids (int64) of a snapshot's rows in corpus order."""
        return np.asarray((self.folder / "index" / snapshot.index).read_table(["id"])["id"])

    def holds(self, snapshot: Snapshot, wanted: Wanted, located: Located) -> bool:
        """Whether a snapshot consists of these rows, from these places."""
        index = self.index(snapshot)
        if snapshot.rows != len(wanted) or snapshot.shards != located.shards:
            return False
        return (
            np.array_equal(index["id"].to_numpy(), wanted.ids)
            and np.array_equal(index["revision"].to_numpy(), wanted.revisions)
            and np.array_equal(index["shard"].to_numpy(), located.shard_of)
        )

    def handed_on(self, snapshot: Snapshot) -> Wanted:
        """The rows of a snapshot as the runs that read it want them: see `handed_on`."""
        index = self.index(snapshot)
        revisions, shard_of = index["revision"].to_numpy().copy(), index["shard"].to_numpy()
        attempts = np.array([attempt_of(name) for name in snapshot.shards], np.int64)[shard_of]
        return Wanted(index["id"].to_numpy(), handed_on(revisions, attempts))

    def read_shard(
        self, name: str, ids: Ints | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """One shard, or those of its rows whose id is in `ids`."""
        wanted = None if columns is None else list(dict.fromkeys(["id", *columns]))
        table = (self.folder / "data" / name).read_table(wanted)
        if ids is None or len(ids) == table.num_rows:
            return table
        return table.filter(pa.array(np.isin(table["id"].to_numpy(), ids)))

    def hand_on(self, parts: Sequence[tuple[str, Ints]]) -> pa.Table:
        """Rows of shards, given by their ids, for a run that reads this one."""
        tables = []
        for name, ids in parts:
            table = self.read_shard(name, ids)
            attempts = np.full(table.num_rows, attempt_of(name), np.int64)
            revisions = handed_on(table["revision"].to_numpy(), attempts)
            tables.append(record.with_column(table, "revision", pa.array(revisions)))
        # A shard without a row that a tagger has seen names no classes.
        known = [dict(table.schema.metadata or {}) for table in tables]
        named = {key: value for each in known for key, value in each.items()}
        return pa.concat_tables(tables).replace_schema_metadata(named)

    def classes(self, snapshot: Snapshot, column: str) -> list[str] | None:
        """The label classes of a column of probabilities, in order; None where no shard names them.

        They are the same in all of a run's shards.
        """
        for name in snapshot.shards:
            found = record.classes((self.folder / "data" / name).read_schema().metadata).get(column)
            if found is not None:
                return found
        return None

    def shards(
        self, snapshot: Snapshot, rows: npt.NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[str, Ints]]:
        """Each shard of a snapshot with the ids (int64, corpus order) of its rows in it, or of those
        among `rows` (bool, one per row of the snapshot)."""
        index = self.index(snapshot)
        ids, shard_of = index["id"].to_numpy(), index["shard"].to_numpy()
        by_shard = np.argsort(shard_of, kind="stable")
        ends = np.cumsum(np.bincount(shard_of, minlength=len(snapshot.shards)))
        for name, held in zip(snapshot.shards, np.split(by_shard, ends[:-1]), strict=True):
            yield name, ids[held if rows is None else held[rows[held]]]

    def read(
        self,
        snapshot: Snapshot,
        columns: Sequence[str] | None = None,
        ids: Ints | None = None,
    ) -> pa.Table:
        """A whole snapshot in corpus order, in memory; or the rows that `ids` name, in their order."""
        wanted = self.ids(snapshot) if ids is None else ids
        rows = None if ids is None else np.isin(self.ids(snapshot), ids)
        parts = [
            self.read_shard(name, held, columns)
            for name, held in self.shards(snapshot, rows)
            if len(held)
        ]
        if not parts:
            return self.read_shard(snapshot.shards[0], wanted, columns)
        table = pa.concat_tables(parts)
        order = np.argsort(table["id"].to_numpy(), kind="stable")
        return table.take(pa.array(order[np.argsort(np.argsort(wanted, kind="stable"))]))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What keeps a file from being written, as something that the user can mend."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error).partition("\n")[0]
            raise JobError(
                f"{self.folder}: cannot be written: {reason}; mend that, and run the same command "
                "again to go on"
            ) from error

    def _shards_by_merit(self) -> list[str]:
        """All whole shards: newest attempt first; within one, what is published, then the oldest."""
        names = [name for name in (self.folder / "data").files() if name.endswith(".parquet")]
        latest = self.latest()
        published = set(latest.shards) if latest else set()
        return sorted(names, key=lambda name: (-attempt_of(name), name not in published, name))

    def _read_all(self, names: Sequence[str], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Columns of shards, in order, a few read ahead."""
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(names), READERS):
                places = [self.folder / "data" / name for name in names[start : start + READERS]]
                yield from pool.map(lambda place: place.read_table(columns), places)

    def _count(self, wanted: Wanted, located: Located) -> Counts:
        """What is in whole shards."""
        found = Counts()
        order = np.argsort(wanted.ids, kind="stable")
        columns = ("id", "revision", "status", "status_detail", "target_entities", "abstained")
        for number, shard in enumerate(self._read_all(located.shards, columns)):
            rows, held = _matches(wanted, order, shard)
            chosen = shard.take(pa.array(held[located.shard_of[rows] == number]))
            found.add(chosen)
            found.seconds.update(json.loads((shard.schema.metadata or {}).get(_SECONDS, b"{}")))
        return found


@dataclass
class Counts:
    """Rows by status and by the filter that took them out, entities by class, seconds by step."""

    statuses: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    entities: Counter[str] = field(default_factory=Counter)
    abstained: int = 0
    corrected: int = 0
    seconds: Counter[str] = field(default_factory=Counter)

    def add(self, rows: pa.Table) -> None:
        """Count some rows."""
        self.statuses.update(_counts(rows["status"]))
        # A filter of the projection says its name first, as in `COMP-SRC: ...`.
        details = pc.if_else(pc.equal(rows["status"], "filtered"), rows["status_detail"], None)
        named = pc.extract_regex(details, r"^(?P<name>[A-Z]+-[A-Z]+): ")
        self.filtered.update(_counts(pc.struct_field(named, "name").drop_null()))
        self.corrected += int(record.is_corrected(rows["status_detail"]).sum())
        if "target_entities" in rows.column_names:
            labels = pc.struct_field(pc.list_flatten(rows["target_entities"]), "label")
            self.entities.update(_counts(labels))
        if "abstained" in rows.column_names:
            self.abstained += len(pc.list_flatten(rows["abstained"]))


def attempt_of(shard: str) -> int:
    """Which attempt wrote a shard: 0, or the number of a retry."""
    return int(shard.partition("-")[0])


def written_at(shard: str) -> float:
    """When a shard was written, in seconds since 1970, by its writer's clock."""
    return int(shard.split("-")[1], 16) / 1000


def _with_corrected(signature: str, rows: int) -> str:
    stages = signature.partition(_CORRECTED)[0]
    return f"{stages}{_CORRECTED}{rows}" if rows else stages


def handed_on(revisions: Ints, attempts: Ints) -> Ints:
    """(n,) int64: the revisions that rows have in a run that reads them.

    A row's own, unless it was retried: then one that no other attempt gives, so that what was made of
    the row before is not taken for what would be made of it now.
    """
    with np.errstate(over="ignore"):
        # The finaliser of splitmix64 (Steele, Lea and Flood 2014).
        mixed = revisions.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * attempts.astype(
            np.uint64
        )
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.where(attempts > 0, mixed.astype(np.int64), revisions)


def find(location: str | os.PathLike[str] | Place) -> Run:
    """The run that a command line names: a run folder, or an output folder with one final run.

    Raises JobError when there is none, or when there are several to choose from.
    """
    folder = storage.at(location)
    if (folder / "snapshots").is_folder():
        return Run(folder)
    runs = [Run(folder / "runs" / name) for name in (folder / "runs").folders()]
    published = {run.fingerprint: run.latest() for run in runs}
    parents = {snapshot.parent for snapshot in published.values() if snapshot}
    final = [run for run in runs if published[run.fingerprint] and run.fingerprint not in parents]
    if not final:
        raise JobError(
            f"{location}: no finished run here; give a run folder or a job's output folder"
        )
    if len(final) > 1:
        names = ", ".join(str(run.folder) for run in final)
        raise JobError(f"{location}: holds several runs; give one of {names}")
    return final[0]


def is_run(location: str | os.PathLike[str] | Place) -> bool:
    """Whether `find` has anything to look at here."""
    folder = storage.at(location)
    return (folder / "snapshots").is_folder() or (folder / "runs").is_folder()


def _matches(wanted: Wanted, order: Ints, shard: pa.Table) -> tuple[Ints, Ints]:
    """Which rows are wanted of a shard: their places among those wanted, and in the shard.

    `order` sorts the wanted ids.
    """
    ids, revisions = shard["id"].to_numpy(), shard["revision"].to_numpy()
    if not len(wanted):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    found = np.searchsorted(wanted.ids, ids, sorter=order)
    rows = order[np.minimum(found, len(wanted) - 1)]
    held = np.flatnonzero((wanted.ids[rows] == ids) & (wanted.revisions[rows] == revisions))
    return rows[held], held


def _status_numbers(shard: pa.Table) -> Ints:
    known = pa.array(_STATUSES)
    return np.asarray(pc.index_in(shard["status"], known).combine_chunks().fill_null(-1), np.int8)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(column).to_pylist()}


def _differing(a: Any, b: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from _differing(a.get(key), b.get(key), f"{prefix}{key}.")
    elif a != b:
        yield prefix.rstrip(".")
