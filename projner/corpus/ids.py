"""Ids of rows: a hash of what was given for a row, and of how many equal rows came before it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner.corpus import arrays
from projner.corpus.arrays import Ints

_HASHED = (
    "source_text",
    "target_text",
    "source_tokens",
    "target_tokens",
    "source_entities",
    "links",
)


def digests(columns: Mapping[str, pa.Array], salt: str) -> Ints:
    """(n,) int64: a hash of `salt` and of what rows have in `columns`, some of those of the record.

    The same content gives the same digest on every machine, whatever the format it was read from.
    """
    fields = [_bytes(columns[name]) for name in _HASHED if name in columns]
    names = [name for name in _HASHED if name in columns]
    # With the lengths before them, fields cannot run into each other.
    lengths = np.stack(
        [pc.fill_null(pc.binary_length(field), -1).to_numpy() for field in fields], axis=1
    )
    prefix = f"{salt}|{','.join(names)}|".encode()
    joined = pc.binary_join_element_wise(
        prefix,
        _rows(lengths.astype("<i4")),
        *fields,
        b"",
        null_handling="replace",
        null_replacement=b"",
    )
    return _numbers(_hash(row) for row in joined.to_pylist())


def salted(own: Ints, salt: str) -> Ints:
    """(n,) int64: the users' ids of rows made different by `salt`."""
    rows = _rows(own.astype("<i8").reshape(-1, 1)).to_pylist()
    return _numbers(_hash(salt.encode() + row) for row in rows)


def distinct(found: Ints) -> Ints:
    """Ids out of digests, in corpus order: a digest's first row has it as its id, the others a hash
    of it and of how many came before."""
    ids: Ints = found.copy()
    for row, before in zip(*_repeated(found), strict=True):
        ids[row] = _again(found[row], before)
    # Two hashes of different things can meet, once in 2**64 pairs: the later row moves on.
    while len(clashing := _repeated(ids)[0]):
        for row in clashing:
            ids[row] = _again(ids[row], -1)
    return ids


def repeated(ids: Ints) -> tuple[int, int] | None:
    """The first two rows that have the same id."""
    later, _ = _repeated(ids)
    if not len(later):
        return None
    second = int(later.min())
    return int(np.flatnonzero(ids == ids[second])[0]), second


def _repeated(values: Ints) -> tuple[Ints, Ints]:
    """Rows whose value came before, in order, and how often it did."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    later = 1 + np.flatnonzero(ordered[1:] == ordered[:-1])
    # Consecutive places belong to one value.
    number = np.arange(len(later))
    begins = np.diff(later, prepend=-1) != 1
    before = 1 + number - np.maximum.accumulate(np.where(begins, number, 0))
    back = np.argsort(order[later], kind="stable")
    return order[later][back], before[back]


def _again(digest: int, count: int) -> int:
    return int.from_bytes(_hash(struct.pack("<qq", digest, count)), "little", signed=True)


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def _numbers(hashes: Iterable[bytes]) -> Ints:
    numbers: Ints = np.frombuffer(b"".join(hashes), "<i8").astype(np.int64)
    return numbers


def _bytes(column: pa.Array) -> pa.BinaryArray:
    if pa.types.is_string(column.type):
        return column.cast(pa.binary())
    bounds, flat = arrays.flat(column)
    if pa.types.is_string(flat.type):
        return pc.binary_join(column, "\n").cast(pa.binary())
    names = [field.name for field in flat.type]
    if "label" in names:
        parts = [pc.struct_field(flat, name).cast(pa.string()) for name in names]
        texts = pc.binary_join_element_wise(*parts, " ")
        return pc.binary_join(arrays.lists(bounds, texts, column), "\n").cast(pa.binary())
    numbers = [pc.struct_field(flat, name).to_numpy() for name in names]
    whole = [
        np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))) for values in numbers
    ]
    rows = np.stack([values.view("<i4") for values in whole], axis=1)
    return _rows(rows, bounds, column)


def _rows(
    values: Ints, bounds: Ints | None = None, given: pa.Array | None = None
) -> pa.BinaryArray:
    """The bytes of a matrix, row by row, or by stretches of rows; null where `given` is."""
    width = values.shape[1] * values.itemsize
    bounds = np.arange(len(values) + 1) if bounds is None else bounds
    data = np.ascontiguousarray(values).tobytes()
    ends = pa.py_buffer((bounds * width).astype(np.int32))
    column = pa.Array.from_buffers(pa.binary(), len(bounds) - 1, [None, ends, pa.py_buffer(data)])
    if given is not None and given.null_count:
        column = pc.if_else(given.is_valid(), column, None)
    return column
