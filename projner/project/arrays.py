"""Projected spans as Arrow columns, from flat numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, record


def projected(offsets: np.ndarray, fields: dict[str, np.ndarray | pa.Array]) -> pa.Array:
    """A `target_entities` column from flat fields; a missing `margin` is null."""
    count = int(offsets[-1])
    arrays = []
    for field in record.PROJECTED:
        values = fields.get(field.name)
        given = pa.nulls(count) if values is None else pa.array(values, from_pandas=True)
        arrays.append(given.cast(field.type))
    items = pa.StructArray.from_arrays(arrays, fields=list(record.PROJECTED))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)


def candidates(found: Sequence[np.ndarray]) -> pa.Array:
    """A `candidates` column from the (entity, start, end) of each row's pairs, (pairs, 3)."""
    flat = np.concatenate([np.empty((0, 3), np.int32), *found]).astype(np.int32)
    offsets = np.cumsum([0, *map(len, found)])
    items = pa.StructArray.from_arrays(
        [pa.array(values) for values in flat.T], fields=list(record.CANDIDATE)
    )
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)


def kept(column: pa.ListArray, items: np.ndarray) -> pa.ListArray:
    """A column of lists with some of its items: `items` (bool) says which, row after row."""
    before = columns.lists(pa.chunked_array([column])).offsets
    counts = np.concatenate([[0], np.cumsum(items)])
    chosen = pc.list_flatten(column).filter(pa.array(items))
    return pa.ListArray.from_arrays(pa.array(counts[before], pa.int32()), chosen)


def without_tags(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """`table` with null `tokens` and `ner_tags` where `rows` (bool) is true: only `ok` rows have them."""
    for name in ("tokens", "ner_tags"):
        nothing = pa.scalar(None, record.type_of(name))
        table = record.with_column(table, name, pc.if_else(pa.array(rows), nothing, table[name]))
    return table


def tags(lengths: np.ndarray, entities: pa.ListArray) -> pa.Array:
    """The `ner_tags` column for rows of `lengths` words with some `target_entities`."""
    known = columns.lists(pa.chunked_array([entities]), ["start", "end"])
    labels = pc.struct_field(pc.list_flatten(entities), "label")
    return iob2(lengths, known.offsets, known.fields["start"], known.fields["end"], labels)


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
    # +code+2 where a span begins, -(code+2) where it has ended: the running sum is I-, and O is 0.
    steps = np.zeros(first_word[-1] + 1, np.int32)
    np.add.at(steps, begins, codes + 2)
    np.add.at(steps, stops, -(codes + 2))
    tags = np.cumsum(steps[:-1], dtype=np.int32)
    tags[begins] -= 1
    names = ["O", *(f"{prefix}-{name}" for name in classes for prefix in ("B", "I"))]
    values = pc.take(pa.array(names, pa.string()), pa.array(tags))
    return pa.ListArray.from_arrays(pa.array(first_word, pa.int32()), values)
