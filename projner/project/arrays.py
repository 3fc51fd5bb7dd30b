"""Arrow list columns as flat numpy arrays, and back, without an object per word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import record


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
    lengths = pc.list_value_length(array).fill_null(0)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths.to_numpy(zero_copy_only=False), out=offsets[1:])
    items = pc.list_flatten(array)
    return Lists(
        offsets,
        {name: pc.struct_field(items, name).to_numpy(zero_copy_only=False) for name in fields},
    )


def projected(offsets: np.ndarray, fields: dict[str, np.ndarray | pa.Array]) -> pa.Array:
    """A `target_entities` column from flat fields; a missing `margin` is null."""
    count = int(offsets[-1])
    arrays = []
    for field in record.PROJECTED:
        values = fields.get(field.name)
        given = pa.nulls(count, field.type) if values is None else pa.array(values, from_pandas=True)
        arrays.append(given.cast(field.type))
    items = pa.StructArray.from_arrays(arrays, fields=list(record.PROJECTED))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)


def iob2(
    lengths: np.ndarray, offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray, labels: pa.Array
) -> pa.Array:
    """The `ner_tags` column: for rows of `lengths` words with spans in word indices of their row.

    `offsets` (rows + 1) delimits each row's spans; spans of a row do not overlap.
    """
    first_word = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=first_word[1:])
    base = np.repeat(first_word[:-1], np.diff(offsets))
    encoded = labels.dictionary_encode()
    classes = encoded.dictionary.to_pylist()
    codes = 2 * encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    begins, stops = base + starts, base + ends
    # +code+2 where a span begins and -(code+2) where it has ended: the running sum is I-, and O is 0.
    steps = np.zeros(first_word[-1] + 1, np.int32)
    np.add.at(steps, begins, codes + 2)
    np.add.at(steps, stops, -(codes + 2))
    tags = np.cumsum(steps[:-1], dtype=np.int32)
    tags[begins] -= 1
    names = ["O", *(f"{prefix}-{name}" for name in classes for prefix in ("B", "I"))]
    values = pc.take(pa.array(names, pa.string()), pa.array(tags))
    return pa.ListArray.from_arrays(pa.array(first_word, pa.int32()), values)
