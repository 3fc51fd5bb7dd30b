"""The snapshots of a run side by side, and the files that none of them needs any more."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import yaml

from projner import storage
from projner.errors import JobError
from projner.runs import lease
from projner.runs.run import Ints, Run, Snapshot, written_at
from projner.storage import Place

COMPARED_ROWS = 10_000
"""Rows whose content is compared at once."""
_WITH_FILES = ("data", "index", "snapshots", "corrections")
_NOT_CONTENT = {"id", "revision", "origin"}


@dataclass(frozen=True)
class Difference:
    """What a snapshot has and another one had not."""

    before: int
    after: int
    added: int
    removed: int
    changed: int
    """Rows with the same id and another content: corrected under an id of the corpus's own, or retried."""
    same: int
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """A few rows of each kind: id, file, position, text, status, and what changed from what to what."""

    def as_json(self) -> dict[str, Any]:
        return vars(self)


def diff(run: Run, before: Snapshot, after: Snapshot, examples: int = 5) -> Difference:
    """Compare two snapshots of a run, row by row."""
    first, second = run.index(before), run.index(after)
    old, new = first["id"].to_numpy(), second["id"].to_numpy()
    shared, at_old, at_new = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    names = np.array([*before.shards, *after.shards])
    _, codes = np.unique(names, return_inverse=True)
    old_shard = codes[first["shard"].to_numpy()][at_old]
    new_shard = codes[len(before.shards) + second["shard"].to_numpy()][at_new]
    # What is in the same shard is the same row.
    suspects = shared[old_shard != new_shard]
    changed, shown = _changed(run, before, after, suspects, examples)
    added = new[~np.isin(new, shared)]
    removed = old[~np.isin(old, shared)]
    return Difference(
        before=before.number,
        after=after.number,
        added=len(added),
        removed=len(removed),
        changed=changed,
        same=len(shared) - changed,
        examples={
            "added": _shown(run, after, added[:examples]),
            "removed": _shown(run, before, removed[:examples]),
            "changed": shown,
        },
    )


def _changed(
    run: Run, before: Snapshot, after: Snapshot, ids: Ints, examples: int
) -> tuple[int, list[dict[str, Any]]]:
    """How many of the rows have another content than before, and some of them."""
    count = 0
    shown: list[dict[str, Any]] = []
    for start in range(0, len(ids), COMPARED_ROWS):
        some = ids[start : start + COMPARED_ROWS]
        pair = (run.read(snapshot, ids=some).to_pylist() for snapshot in (before, after))
        for old, new in zip(*pair, strict=True):
            other = {
                name: [old.get(name), new.get(name)]
                for name in new
                if name not in _NOT_CONTENT and old.get(name) != new[name]
            }
            count += bool(other)
            if other and len(shown) < examples:
                shown.append({**_row(new), "was": other})
    return count, shown


def _shown(run: Run, snapshot: Snapshot, ids: Ints) -> list[dict[str, Any]]:
    if not len(ids):
        return []
    return [_row(row) for row in run.read(snapshot, ids=ids).to_pylist()]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    origin = row.get("origin") or {}
    return {
        "id": row["id"],
        "file": origin.get("file"),
        "position": origin.get("index"),
        "text": row.get("target_text") or row.get("source_text"),
        "status": row["status"],
    }


@dataclass(frozen=True)
class Collected:
    """What was taken away from a run."""

    run: str
    snapshots: list[int]
    shards: int
    others: int
    """Indexes, and what writers that were killed left."""
    bytes: int
    """Of the shards."""

    def as_json(self) -> dict[str, Any]:
        return vars(self)


def collect(location: str, keep: int) -> list[Collected]:
    """Take away what the newest `keep` snapshots of a run do not need, or of all runs of an output.

    Snapshots that runs made from this one read stay, and so do shards that were written after the
    newest snapshot: they are work that is not published yet. Nothing is taken from a run that has no
    snapshot but what writers left that were killed.

    Raises JobError when one of the runs, or of those made from them, is being written.
    """
    if keep < 1:
        raise JobError(f"--keep {keep}: keep at least one snapshot")
    folder = storage.at(location)
    alone = (folder / "snapshots").is_folder()
    beside = folder.parent if alone else folder / "runs"
    family = {name: Run(beside / name) for name in beside.folders()}
    chosen = [folder.name] if alone else list(family)
    if not chosen:
        raise JobError(f"{location}: no run here; give a run folder or a job's output folder")
    parents = {name: _parent(run) for name, run in family.items()}
    with ExitStack() as held:
        # Runs come before those that they read, and so does what they need.
        ordered = sorted(family, key=lambda name: -len(_ancestors(name, parents)))
        for name in ordered:
            if any(each == name or each in _ancestors(name, parents) for each in chosen):
                held.enter_context(lease.hold(family[name].folder))
        return [
            _collect(
                family[name], keep, [family[each] for each, of in parents.items() if of == name]
            )
            for name in ordered
            if name in chosen
        ]


def _collect(run: Run, keep: int, children: Iterable[Run]) -> Collected:
    numbers = run.snapshots()
    read = {
        run_of.parent_snapshot
        for child in children
        for run_of in map(child.snapshot, child.snapshots())
    }
    kept = [number for number in numbers if number in numbers[-keep:] or number in read]
    gone = [number for number in numbers if number not in kept]
    snapshots = [run.snapshot(number) for number in kept]
    needed = {shard for snapshot in snapshots for shard in snapshot.shards}
    indexes = {snapshot.index for snapshot in snapshots}
    # A reader must never find a snapshot whose files are gone.
    for number in gone:
        (run.folder / "snapshots" / f"{number:06}.json").remove()
    data, taken = run.folder / "data", 0
    shards = 0
    if snapshots:
        published = datetime.fromisoformat(snapshots[-1].created).timestamp()
        for name, size in data.files().items():
            if name not in needed and written_at(name) < published:
                (data / name).remove()
                shards, taken = shards + 1, taken + size
    others = [
        run.folder / "index" / name
        for name in (run.folder / "index").files()
        if snapshots and name not in indexes
    ]
    for folder in (run.folder, *map(run.folder.__truediv__, _WITH_FILES)):
        others += folder.lost()
    for place in others:
        place.remove()
    steps = _unused_steps(run.folder / "steps")
    for place in steps:
        place.remove_folder()
    return Collected(run.fingerprint, gone, shards, len(others) + len(steps), taken)


def _unused_steps(steps: Place) -> list[Place]:
    """Folders that a job left which was killed while it learnt."""
    used = {json.loads((steps / name).read())["folder"] for name in steps.files()}
    return [steps / name for name in steps.folders() if name not in used]


def _parent(run: Run) -> str | None:
    """The fingerprint of the run that a run reads."""
    try:
        settings = yaml.safe_load((run.folder / "job.yaml").read())
    except FileNotFoundError:
        return None
    return settings.get("parent") if isinstance(settings, dict) else None


def _ancestors(name: str, parents: dict[str, str | None]) -> Collection[str]:
    found: list[str] = []
    while (parent := parents.get(name)) is not None and parent not in found:
        found.append(parent)
        name = parent
    return found
