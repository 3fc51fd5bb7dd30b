"""Arrow list columns as flat numpy arrays, without an object per word, entity or link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[Any]


MANY_ROWS = 1000
"""Rows from which on compiled code is worth its half second of loading."""


@dataclass(frozen=True)
class Lists:
    """A column of lists: row r holds the items `offsets[r]` to `offsets[r + 1]` of every field.

    A null row is an empty one. Fields are arrays of one value per item.
    """

    offsets: Array
    fields: dict[str, Array]

    def rows(self) -> list[slice]:
        """The slice of each row's items."""
        return [slice(first, stop) for first, stop in pairwise(self.offsets.tolist())]

    def pairs(self, first: str, second: str) -> Array:
        """Two integer fields side by side: int32, shape (items, 2)."""
        return np.stack([self.fields[first], self.fields[second]], axis=1, dtype=np.int32)


def lists(column: pa.ChunkedArray, fields: Sequence[str] = ()) -> Lists:
    """A list column's offsets and, of its items' structs, the named fields."""
    array = column.combine_chunks()
    items = pc.list_flatten(array)
    return Lists(
        _offsets(array),
        {name: pc.struct_field(items, name).to_numpy(zero_copy_only=False) for name in fields},
    )


def numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The numbers in a column of lists, or of lists of lists, one after the other."""
    array = column.combine_chunks()
    while pa.types.is_list(array.type):
        array = array.flatten()
    return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)


def nested(rows: Array, counts: Array) -> pa.ListArray:
    """A list of `counts` lists for each row of a table, from a matrix (all of these, width)."""
    items, width = rows.shape
    inner = pa.ListArray.from_arrays(
        pa.array(np.arange(items + 1) * width, pa.int32()), pa.array(rows.reshape(-1))
    )
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner)


def no_lists(rows: int, fields: Sequence[str]) -> Lists:
    """Rows without items."""
    return Lists(np.zeros(rows + 1, np.int64), dict.fromkeys(fields, np.empty(0, np.int32)))


def _offsets(array: pa.Array) -> Array:
    if not array.null_count:
        bounds = array.offsets.to_numpy()
        offsets: Array = np.subtract(bounds, bounds[0], dtype=np.int64)
        return offsets
    lengths = pc.list_value_length(array).fill_null(0)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths.to_numpy(zero_copy_only=False), out=offsets[1:])
    return offsets
