"""The record: one row is one sentence pair.

A reader emits rows; from there on stages add columns, never rows, and drop none. `status` says what
became of a row. Everything that passes between rooms is an Arrow table with these columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SCHEMA_VERSION = 2
"""Part of every fingerprint and signature; raised when a column's name, type or meaning changes."""

ENTITY = pa.struct(
    [("start", pa.int32()), ("end", pa.int32()), ("label", pa.string()), ("score", pa.float32())]
)
"""A labelled span of words, end exclusive. `score` in [0, 1]; 1 for labels that were given."""

LINK = pa.struct([("source", pa.int32()), ("target", pa.int32()), ("score", pa.float32())])
"""Two word indices that translate each other. `score` in [0, 1]; 1 for links that were given."""

PROJECTED = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("margin", pa.float32()),
        ("confidence", pa.float32()),
        ("source_index", pa.int32()),
    ]
)
"""An entity on the target side. `score`: the projection's; `margin`: how much worse the best solution
without it is; `confidence`: the probability that it is right; `source_index`: its place in
`source_entities`. The last three are null where the method has no such thing."""

CANDIDATE = pa.struct([("source_index", pa.int32()), ("start", pa.int32()), ("end", pa.int32())])
"""A span of target words, end exclusive, that the entity at `source_index` may be projected to."""

DOC = pa.struct([("id", pa.string()), ("sentence", pa.int32())])
"""The document that a sentence was split from, and its number there, from 0. `id` is the user's own,
else the file's name and the document's index in it, as `news.txt#3`."""

COLUMNS: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "revision": pa.int64(),
    "origin": pa.struct([("file", pa.string()), ("index", pa.int64())]),
    "doc": DOC,
    "source_lang": pa.string(),
    "target_lang": pa.string(),
    "source_text": pa.string(),
    "target_text": pa.string(),
    "source_tokens": pa.list_(pa.string()),
    "target_tokens": pa.list_(pa.string()),
    "source_entities": pa.list_(ENTITY),
    "source_probs": pa.list_(pa.list_(pa.float16())),
    "target_probs": pa.list_(pa.list_(pa.float16())),
    "links": pa.list_(LINK),
    "marked_text": pa.string(),
    "marked_tokens": pa.list_(pa.string()),
    "marked_entities": pa.list_(ENTITY),
    "marked_links": pa.list_(LINK),
    "target_labels": pa.list_(ENTITY),
    "candidates": pa.list_(CANDIDATE),
    "nmt_scores": pa.list_(pa.float32()),
    "codec_scores": pa.list_(pa.float32()),
    "target_entities": pa.list_(PROJECTED),
    "abstained": pa.list_(PROJECTED),
    "tokens": pa.list_(pa.string()),
    "ner_tags": pa.list_(pa.string()),
    "status": pa.string(),
    "status_detail": pa.string(),
}
"""Every column that a run can hold, in the order in which it is written.

`id` and `revision` together say what a row was made from. The revision is 0 where the id, a hash, says
it alone; a digest of what was given where the corpus brings ids of its own; and another number where
an earlier run retried the row. `marked_text` is the source side translated with markers around its
entities, which have been taken out; `marked_links` are of its words with those of the target side, in
the same language. `target_labels` are what a tagger sees on the target side. `nmt_scores` and
`codec_scores` have one score per candidate. `abstained` are projected entities that were too doubtful
for `target_entities`."""

TRANSIENT: dict[str, pa.DataType] = {
    "surface_links": pa.list_(LINK),
}
"""Columns that pass between the stages of one run and are not written: links by likeness of form,
which stand beside `links` as evidence of their own."""


CORRECTED = "corrected: "
"""How the `status_detail` of a row begins whose labels people gave; then comes the name of their file."""


class Status(str, Enum):
    """What became of a row. Only `ok` rows carry `ner_tags`."""

    OK = "ok"
    EMPTY = "empty"
    """A side has no words."""
    INVALID = "invalid"
    """The corpus has a bad tag, link or byte here, and `corpus.on_error` is `status`."""
    TOO_LONG = "too_long"
    TRANSLATION_FAILED = "translation_failed"
    MARKERS_LOST = "markers_lost"
    """A translation model kept or gave back the markers of some entities only."""
    ALIGNMENT_FAILED = "alignment_failed"
    INFEASIBLE = "infeasible"
    """No choice of spans satisfies the limit."""
    BOUNDED = "bounded"
    """The work limit was reached: the projection is the best one found, its optimality not proven."""
    FILTERED = "filtered"
    ERROR = "error"
    """A stage failed on this row; the detail has the exception."""


def schema(
    columns: list[str] | None = None, classes: dict[str, list[str]] | None = None
) -> pa.Schema:
    """The Arrow schema of the given columns (all by default), in record order.

    `classes` names the label classes of the probability columns; it goes into the metadata.
    """
    names = [name for name in COLUMNS if columns is None or name in columns]
    metadata = {"projner.schema_version": str(SCHEMA_VERSION)}
    for column, labels in (classes or {}).items():
        metadata[f"projner.classes.{column}"] = "\t".join(labels)
    return pa.schema([(name, COLUMNS[name]) for name in names], metadata=metadata)


def classes(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The label classes of each probability column, as a schema's `metadata` names them."""
    prefix = b"projner.classes."
    return {
        key.removeprefix(prefix).decode(): value.decode().split("\t")
        for key, value in (metadata or {}).items()
        if key.startswith(prefix)
    }


def type_of(column: str) -> pa.DataType:
    """The Arrow type of a column, written or transient."""
    return COLUMNS[column] if column in COLUMNS else TRANSIENT[column]


def is_open(table: pa.Table) -> np.ndarray:
    """Rows (bool, one per row) that stages still work on: status `ok`."""
    return np.asarray(pc.equal(table["status"], Status.OK.value).combine_chunks().fill_null(False))


def is_corrected(details: pa.ChunkedArray) -> np.ndarray:
    """Rows (bool) whose labels people gave, by their `status_detail`."""
    return np.asarray(pc.starts_with(details.combine_chunks(), CORRECTED).fill_null(False))


def with_column(table: pa.Table, name: str, values: pa.Array | list[Any]) -> pa.Table:
    """`table` with column `name` added, or replaced in its place."""
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        values = pa.array(values, type=type_of(name))
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)
