"""What a page says of a whole run, and which of its rows it shows: one pass over the shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns
from projner.runs.run import Ints, Run, Snapshot, written_at

BINS = 20
"""Of the histograms over [0, 1]."""
SITTING = 600
"""Seconds without a shard after which what follows is another sitting's work."""
_COLUMNS = ("status", "source_entities", "target_entities")
_NUMBERS = ("score", "confidence", "source_index")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """All rows of a snapshot, shard by shard."""

    ids: Ints
    """(n,) int64."""
    doubt: Floats
    """(n,) float32: the lowest confidence of a row's entities, or score where there is none; infinite
    for rows without entities."""
    status: npt.NDArray[np.object_]
    """(n,) texts."""


@dataclass
class Overview:
    """Counts over all rows."""

    scores: Ints = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """(BINS,) projected entities by score; what lies outside [0, 1] is in the last bin at its end."""
    confidences: Ints = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """(BINS,) by confidence, those that have one."""
    source: Counter[str] = field(default_factory=Counter)
    """Source entities by class."""
    placed: Counter[str] = field(default_factory=Counter)
    """Those that have a place on the target side."""


@dataclass(frozen=True)
class Sitting:
    """The stretch of time in which most rows were written without a long pause."""

    began: float
    """Seconds since 1970: when its first shard was there."""
    seconds: npt.NDArray[np.float64]
    """(shards,) after that, when each shard was there."""
    rows: Ints
    """(shards,) rows of each that the snapshot has."""

    @property
    def rate(self) -> float | None:
        """Rows a second from the first shard to the last; none of a single moment."""
        span = self.seconds[-1]
        return float(self.rows[1:].sum() / span) if span > 0 else None


def read(run: Run, snapshot: Snapshot) -> tuple[Rows, Overview]:
    """Go through a snapshot, a shard in memory at a time beside some 20 bytes for each row."""
    overview = Overview()
    ids, doubts, statuses = [], [], []
    for rows in _shards(run, snapshot):
        ids.append(rows["id"].to_numpy())
        statuses.append(pc.fill_null(rows["status"], "").to_numpy(zero_copy_only=False))
        doubts.append(_doubt(rows, overview))
    return (
        Rows(
            np.concatenate([np.empty(0, np.int64), *ids]),
            np.concatenate([np.empty(0, np.float32), *doubts]),
            np.concatenate([np.empty(0, object), *statuses]),
        ),
        overview,
    )


def choose(
    rows: Rows, wrong: npt.NDArray[np.bool_] | None, count: int, seed: int = 0
) -> tuple[Ints, str]:
    """The ids (sorted) of up to `count` rows that are shown, and in words how they were chosen.

    Half of them are the most doubtful, those that are `wrong` (n,) before all others; a quarter are
    drawn from every status alike; the rest from all rows.
    """
    total = len(rows.ids)
    if total <= count:
        return np.sort(rows.ids), f"all {total:,} sentences"
    right = np.zeros(total, bool) if wrong is None else ~wrong
    order = np.lexsort((rows.doubt, right))[: count // 2]
    worst = order[np.isfinite(rows.doubt[order]) | ~right[order]]
    chance = np.random.default_rng(seed)
    chosen = np.zeros(total, bool)
    chosen[worst] = True
    names = sorted(set(rows.status))
    for name in names:
        free = np.flatnonzero((rows.status == name) & ~chosen)
        chosen[chance.permutation(free)[: max(1, count // 4 // len(names))]] = True
    by_status = int(chosen.sum()) - len(worst)
    free = np.flatnonzero(~chosen)
    chosen[chance.permutation(free)[: max(0, count - int(chosen.sum()))]] = True
    drawn = int(chosen.sum()) - by_status - len(worst)
    what = "least confident" if wrong is None else "wrong or least confident"
    return np.sort(rows.ids[chosen]), (
        f"{chosen.sum():,} of {total:,} sentences: the {len(worst):,} {what}, {by_status:,} drawn "
        f"from every status alike, {drawn:,} from all (seed {seed})"
    )


def sitting(run: Run, snapshot: Snapshot) -> Sitting:
    """When a snapshot's shards were written, by their names."""
    moments = np.array([written_at(name) for name in snapshot.shards])
    shard_of = run.index(snapshot)["shard"].to_numpy()
    rows = np.bincount(shard_of, minlength=len(moments))
    order = np.argsort(moments, kind="stable")
    moments, rows = moments[order], rows[order]
    number = np.cumsum(np.diff(moments, prepend=moments[:1]) > SITTING)
    most = int(np.argmax(np.bincount(number, rows))) if len(number) else 0
    here = number == most
    began = float(moments[here][0]) if here.any() else 0.0
    return Sitting(began, moments[here] - began, rows[here])


def _shards(run: Run, snapshot: Snapshot) -> Iterator[pa.Table]:
    for name, ids in run.shards(snapshot):
        if len(ids):
            yield run.read_shard(name, ids, _COLUMNS)


def _doubt(rows: pa.Table, overview: Overview) -> Floats:
    """The `Rows.doubt` of some rows, which are counted."""
    doubt = np.full(rows.num_rows, np.inf, np.float32)
    if "source_entities" in rows.column_names:
        given = columns.lists(rows["source_entities"], ["label"])
        overview.source.update(given.fields["label"].tolist())
    if "target_entities" not in rows.column_names:
        return doubt
    found = columns.lists(rows["target_entities"], _NUMBERS)
    score, confidence, index = (found.fields[name].astype(np.float64) for name in _NUMBERS)
    row = np.repeat(np.arange(rows.num_rows), np.diff(found.offsets))
    known = np.isfinite(confidence)
    np.minimum.at(doubt, row, np.where(known, confidence, score).astype(np.float32))
    overview.scores += _histogram(score)
    overview.confidences += _histogram(confidence[known])
    if "source_entities" in rows.column_names:
        traced = np.isfinite(index)
        place = given.offsets[row[traced]] + index[traced].astype(np.int64)
        # An entity may have several places.
        overview.placed.update(given.fields["label"][np.unique(place)].tolist())
    return doubt


def _histogram(values: npt.NDArray[np.float64]) -> Ints:
    return np.histogram(np.clip(values[np.isfinite(values)], 0, 1), BINS, (0, 1))[0]
