"""Several aligners as one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import record
from projner.stage import Stage


class FusedAligner(Stage):
    """Fills `links` with those that at least half of some aligners find.

    A link's score is the mean of theirs, 0 from an aligner that lacks it.
    """

    name: ClassVar[str] = "fused"
    outputs = ("links",)

    def __init__(self, aligners: Sequence[Stage]) -> None:
        self._aligners = tuple(aligners)
        self.inputs = tuple(dict.fromkeys(name for each in aligners for name in each.inputs))
        self.learns = any(each.learns for each in aligners)  # type: ignore[misc]
        self.room = next((each.room for each in aligners if each.room), None)  # type: ignore[misc]

    def resolved(self) -> FusedAligner:
        settled = copy.copy(self)
        settled._aligners = tuple(each.resolved() for each in self._aligners)
        return settled

    def settings(self) -> dict[str, Any]:
        return {f"{each.name}.{each.version}": each.settings() for each in self._aligners}

    def fetch(self) -> None:
        for each in self._aligners:
            each.fetch()

    def setup(self, cpus: float | None = None) -> None:
        for each in self._aligners:
            each.setup(cpus)

    def counters(self) -> Mapping[str, float]:
        return {
            f"{each.name}_{name}": value
            for each in self._aligners
            for name, value in each.counters().items()
        }

    def learn(self, tables: Iterable[pa.Table], folder: Path) -> None:
        for number, each in enumerate(self._aligners):
            if each.learns:
                (folder / str(number)).mkdir()
                each.learn(tables, folder / str(number))

    def recall(self, folder: Path) -> Stage:
        return FusedAligner(
            [
                each.recall(folder / str(number)) if each.learns else each
                for number, each in enumerate(self._aligners)
            ]
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        found = [each(table)["links"] for each in self._aligners]
        return record.with_column(table, "links", fuse(found))


def fuse(columns: Sequence[pa.ChunkedArray]) -> pa.Array:
    """One `links` column of several: what at least half of them have, with the mean of its scores."""
    rows = len(columns[0])
    keys, scores = [], []
    for column in columns:
        array = column.combine_chunks()
        counts = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        items = pc.list_flatten(array)
        source, target, score = (
            pc.struct_field(items, name).to_numpy(zero_copy_only=False)
            for name in ("source", "target", "score")
        )
        keys.append(np.stack([np.repeat(np.arange(rows), counts), source, target]))
        scores.append(score)
    found = np.concatenate(keys, axis=1)
    # As one number each, links are sorted far faster than as rows of three.
    shape = max(1, rows), *(int(words.max(initial=0)) + 1 for words in found[1:])
    numbers, place, votes = np.unique(
        np.ravel_multi_index(tuple(found), shape), return_inverse=True, return_counts=True
    )
    total = np.bincount(place, np.concatenate(scores), len(numbers))
    kept = 2 * votes >= len(columns)
    row, source, target = np.unravel_index(numbers[kept], shape)
    mean = total[kept] / len(columns)
    offsets = np.searchsorted(row, np.arange(rows + 1))
    items = pa.StructArray.from_arrays(
        [
            pa.array(source, pa.int32()),
            pa.array(target, pa.int32()),
            pa.array(mean, pa.float32()),
        ],
        fields=list(record.LINK),
    )
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)
