"""Arrow list columns as flat numpy arrays, without an object per word, entity or link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Lists:
    """A column of lists: row r holds the items `offsets[r]` to `offsets[r + 1]` of every field.

    A null row is an empty one. Fields are arrays of one value per item.
    """

    offsets: np.ndarray
    fields: dict[str, np.ndarray]

    def rows(self) -> list[slice]:
        """The slice of each row's items."""
        bounds = self.offsets.tolist()
        return [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

    def pairs(self, first: str, second: str) -> np.ndarray:
        """Two integer fields side by side: int32, shape (items, 2)."""
        return np.column_stack([self.fields[first], self.fields[second]]).astype(np.int32)


def lists(column: pa.ChunkedArray, fields: Sequence[str] = ()) -> Lists:
    """A list column's offsets and, of its items' structs, the named fields."""
    array = column.combine_chunks()
    items = pc.list_flatten(array)
    return Lists(
        _offsets(array),
        {name: pc.struct_field(items, name).to_numpy(zero_copy_only=False) for name in fields},
    )


def encode(*columns: pa.ChunkedArray) -> tuple[list[Lists], list[str]]:
    """Columns of words by number: rows with one field, `code`, and the distinct words themselves."""
    arrays = [column.combine_chunks() for column in columns]
    encoded = pa.concat_arrays([pc.list_flatten(array) for array in arrays]).dictionary_encode()
    codes, coded = encoded.indices.to_numpy(), []
    for array in arrays:
        offsets = _offsets(array)
        coded.append(Lists(offsets, {"code": codes[: offsets[-1]]}))
        codes = codes[offsets[-1] :]
    return coded, encoded.dictionary.to_pylist()


def _offsets(array: pa.Array) -> np.ndarray:
    lengths = pc.list_value_length(array).fill_null(0)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths.to_numpy(zero_copy_only=False), out=offsets[1:])
    return offsets
