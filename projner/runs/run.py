"""A run folder: its shards, its snapshots, and the order of its rows.

```
OUT/runs/FINGERPRINT/
  job.yaml              what the fingerprint was made of
  data/*.parquet        shards: each is whole or is not there
  index/N.parquet       snapshot N's rows in corpus order: id, file, position, shard
  snapshots/N.json      the shards and the index that snapshot N is made of, and its counts
  steps/                results of corpus-wide steps, such as the priors of an aligner
```

The shards are the ledger: the ids in whole shards are done. Readers read snapshots, never a listing.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from projner.errors import JobError

_SECONDS = b"projner.seconds"


@dataclass(frozen=True)
class Snapshot:
    """A published state of a run: which shards, which of their rows, and what became of them."""

    number: int
    fingerprint: str
    parent: str | None
    created: str
    signature: str
    rows: int
    statuses: dict[str, int]
    entities: dict[str, int]
    shards: tuple[str, ...]
    index: str
    seconds: dict[str, float] = field(default_factory=dict)
    """What each step took for the rows in `shards`, over all actors."""


class Run:
    """One run folder. Creating the object touches nothing on disk."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    @property
    def fingerprint(self) -> str:
        return self.folder.name

    def begin(self, settings: dict[str, Any]) -> None:
        """Make the folder and write its settings; the same settings may be there already.

        Raises JobError when the folder holds a run made with other settings, or cannot be made.
        """
        try:
            for name in ("data", "index", "snapshots", "steps"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(
                f"{self.folder}: cannot be made: {error.strerror}; give another --output"
            ) from None
        path = self.folder / "job.yaml"
        if path.exists():
            stored = yaml.safe_load(path.read_text(encoding="utf-8"))
            if stored != settings:
                keys = ", ".join(sorted(_differing(stored, settings)))
                raise JobError(
                    f"{self.folder}: this run was made with other settings ({keys}); "
                    "give another --output"
                )
            return
        text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
        _write_whole(path, text.encode())

    def write_shard(self, table: pa.Table, seconds: Mapping[str, float] | None = None) -> str:
        """Write `table` as one shard, and return its name.

        `seconds`, if given, says how long each step took for these rows; it goes into the metadata.
        The name follows from the first id, so a repeated task replaces its own shard.
        """
        name = f"{table['id'][0].as_py() & (2**64 - 1):016x}.parquet"
        if seconds:
            metadata = {**(table.schema.metadata or {}), _SECONDS: json.dumps(dict(seconds))}
            table = table.replace_schema_metadata(metadata)
        part = self.folder / "data" / f".{name}.{uuid.uuid4().hex}"
        pq.write_table(table, part, compression="zstd", row_group_size=10_000)
        os.replace(part, self.folder / "data" / name)
        return name

    def done(self) -> np.ndarray:
        """Ids (int64, sorted) of the rows in whole shards."""
        ids = [pq.read_table(path, columns=["id"])["id"].to_numpy() for path in self._shards()]
        return np.unique(np.concatenate(ids)) if ids else np.empty(0, np.int64)

    def publish(
        self, ids: np.ndarray, origins: pa.Table, parent: str | None, signature: str
    ) -> Snapshot:
        """Publish the rows `ids` (int64, corpus order) as the next snapshot.

        `origins` has the columns `file` and `position` of each row. Raises RuntimeError, and
        publishes nothing, when the shards do not hold each id exactly once.
        """
        order = np.argsort(ids, kind="stable")
        wanted_columns = ("id", "status", "target_entities")
        shard_of = np.full(len(ids), -1, np.int32)
        statuses: Counter[str] = Counter()
        classes: Counter[str] = Counter()
        names: list[str] = []
        schemas: list[pa.Schema] = []
        for path in self._shards():
            schema = pq.read_schema(path)
            shard = pq.read_table(path, columns=[c for c in wanted_columns if c in schema.names])
            held = shard["id"].to_numpy()
            found = np.searchsorted(ids, held, sorter=order)
            rows = order[np.minimum(found, len(ids) - 1)]
            wanted = ids[rows] == held
            if not wanted.any():
                continue
            if (shard_of[rows[wanted]] >= 0).any():
                raise RuntimeError(f"{path}: holds rows that another shard of the run holds too")
            shard_of[rows[wanted]] = len(names)
            names.append(path.name)
            schemas.append(schema)
            kept = shard.filter(pa.array(wanted))
            statuses.update(_count(kept["status"]))
            if "target_entities" in kept.column_names:
                labels = pc.struct_field(pc.list_flatten(kept["target_entities"]), "label")
                classes.update(_count(labels))
        lost = int((shard_of < 0).sum())
        if lost:
            raise RuntimeError(f"{self.folder}: {lost} of {len(ids)} rows are in no shard")
        latest = self.latest()
        number = latest.number + 1 if latest else 1
        index = f"{number:06}.parquet"
        columns = {"id": pa.array(ids), "file": origins["file"], "position": origins["position"]}
        table = pa.table({**columns, "shard": pa.array(shard_of)})
        pq.write_table(table, self.folder / "index" / index, compression="zstd")
        snapshot = Snapshot(
            number=number,
            fingerprint=self.fingerprint,
            parent=parent,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            signature=signature,
            rows=len(ids),
            statuses=dict(sorted(statuses.items())),
            entities=dict(sorted(classes.items())),
            shards=tuple(names),
            index=index,
            seconds=_seconds(schemas),
        )
        text = json.dumps(asdict(snapshot), indent=1)
        _write_whole(self.folder / "snapshots" / f"{number:06}.json", text.encode())
        return snapshot

    def latest(self) -> Snapshot | None:
        """The newest snapshot, if there is one."""
        paths = sorted((self.folder / "snapshots").glob("*.json"))
        if not paths:
            return None
        stored = json.loads(paths[-1].read_text(encoding="utf-8"))
        return Snapshot(**{**stored, "shards": tuple(stored["shards"])})

    def index(self, snapshot: Snapshot) -> pa.Table:
        """A snapshot's rows in corpus order: `id`, `file`, `position`, `shard`."""
        return pq.read_table(self.folder / "index" / snapshot.index)

    def ids(self, snapshot: Snapshot) -> np.ndarray:
        """The ids (int64) of a snapshot's rows in corpus order."""
        return np.asarray(self.index(snapshot)["id"])

    def read_shard(
        self, name: str, ids: np.ndarray | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """One shard, or those of its rows whose id is in `ids`."""
        wanted = None if columns is None else list(dict.fromkeys(["id", *columns]))
        table = pq.read_table(self.folder / "data" / name, columns=wanted)
        if ids is None or len(ids) == table.num_rows:
            return table
        return table.filter(pa.array(np.isin(table["id"].to_numpy(), ids)))

    def shards(self, snapshot: Snapshot) -> Iterator[tuple[str, np.ndarray]]:
        """Each shard of a snapshot with the ids (int64, corpus order) of its rows in it."""
        index = self.index(snapshot)
        ids, shard_of = index["id"].to_numpy(), index["shard"].to_numpy()
        by_shard = np.argsort(shard_of, kind="stable")
        ends = np.cumsum(np.bincount(shard_of, minlength=len(snapshot.shards)))
        for name, rows in zip(snapshot.shards, np.split(by_shard, ends[:-1]), strict=True):
            yield name, ids[rows]

    def read(self, snapshot: Snapshot, columns: Sequence[str] | None = None) -> pa.Table:
        """A whole snapshot in corpus order, in memory."""
        parts = [self.read_shard(name, ids, columns) for name, ids in self.shards(snapshot)]
        table = pa.concat_tables(parts)
        wanted = self.ids(snapshot)
        order = np.argsort(table["id"].to_numpy(), kind="stable")
        return table.take(pa.array(order[np.argsort(np.argsort(wanted, kind="stable"))]))

    def _shards(self) -> list[Path]:
        return sorted((self.folder / "data").glob("[!.]*.parquet"))


def find(location: str | os.PathLike[str]) -> Run:
    """The run that a command line names: a run folder, or an output folder with one final run.

    Raises JobError when there is none, or when there are several to choose from.
    """
    folder = Path(location)
    if (folder / "snapshots").is_dir():
        return Run(folder)
    runs = [Run(path) for path in sorted((folder / "runs").glob("*")) if path.is_dir()]
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


def is_run(location: str | os.PathLike[str]) -> bool:
    """Whether `find` has anything to look at here."""
    folder = Path(location)
    return (folder / "snapshots").is_dir() or (folder / "runs").is_dir()


def _count(column: pa.ChunkedArray) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(column).to_pylist()}


def _seconds(schemas: Iterable[pa.Schema]) -> dict[str, float]:
    """Seconds by step that the metadata of these shards tell of, in all."""
    sums: Counter[str] = Counter()
    for schema in schemas:
        sums.update(json.loads((schema.metadata or {}).get(_SECONDS, b"{}")))
    return {step: round(spent, 3) for step, spent in sums.items()}


def _differing(a: Any, b: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from _differing(a.get(key), b.get(key), f"{prefix}{key}.")
    elif a != b:
        yield prefix.rstrip(".")


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    part.write_bytes(content)
    os.replace(part, path)
