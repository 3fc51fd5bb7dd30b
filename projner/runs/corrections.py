"""Labels that people gave to rows of a run, in place of projected ones.

They are rows of a shard of a new attempt, as a retry's are, so that the next snapshot and all after it
have them. `RUN/corrections/*.parquet` keeps them besides, each for a row as the corpus has it (its id,
and its revision before any retry) and for the words that were labelled: where the row is computed again,
they are put over what comes out. A row that the corpus has no longer has no use for its correction.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from projner import record
from projner.record import Status
from projner.runs.lease import Lease
from projner.runs.run import Ints, Run, Snapshot, Wanted
from projner.tags import Span, to_tags

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("revision", pa.int64()),
        ("target_tokens", pa.list_(pa.string())),
        ("entities", pa.list_(record.ENTITY)),
        ("detail", pa.string()),
    ]
)
"""`revision` is the corpus's; `detail` becomes the row's `status_detail`."""
_FOLDER = "corrections"


@dataclass(frozen=True)
class Correction:
    """What a row is labelled as."""

    id: int
    spans: tuple[Span, ...]
    """In reading order, of the words in `target_tokens`; none of them overlap."""


def kept(run: Run, ids: Ints, revisions: Ints) -> pa.Table | None:
    """The newest correction (`SCHEMA`) of each of the rows that has one; None where none has.

    Args:
        run: the run whose rows they are.
        ids: (n,) int64.
        revisions: (n,) int64, as the corpus has them.
    """
    folder = run.folder / _FOLDER
    files = [name for name in folder.files() if name.endswith(".parquet")]
    if not files:
        return None
    # Their names begin with the time.
    table = pa.concat_tables([(folder / name).read_table() for name in sorted(files, reverse=True)])
    _, newest = np.unique(table["id"].to_numpy(), return_index=True)
    table = table.take(pa.array(newest))
    order = np.argsort(ids, kind="stable")
    place = np.searchsorted(ids, table["id"].to_numpy(), sorter=order)
    row = order[np.minimum(place, len(ids) - 1)] if len(ids) else np.empty(0, np.int64)
    if not len(row):
        return None
    found = (ids[row] == table["id"].to_numpy()) & (revisions[row] == table["revision"].to_numpy())
    return table.filter(pa.array(found)) if found.any() else None


def put_over(corrections: pa.Table, rows: pa.Table) -> pa.Table:
    """`rows` of a final run, those with a correction of the same words labelled as that says.

    Their entities have score and confidence 1, and the source entity of the one that was projected onto
    the same words.
    """
    number = {id_: n for n, id_ in enumerate(corrections["id"].to_pylist())}
    at = np.array([number.get(id_, -1) for id_ in rows["id"].to_pylist()], np.int64)
    suspects = np.flatnonzero(at >= 0)
    if not len(suspects):
        return rows
    given = corrections.take(pa.array(at[suspects])).to_pylist()
    words = rows["target_tokens"].take(pa.array(suspects)).to_pylist()
    same = [each["target_tokens"] == words for each, words in zip(given, words, strict=True)]
    given = [each for each, kept in zip(given, same, strict=True) if kept]
    places = suspects[same]
    if not len(places):
        return rows
    old = rows.take(pa.array(places))
    projected = old["target_entities"].to_pylist()
    new = {
        "target_entities": [
            _entities(each["entities"], before or ())
            for each, before in zip(given, projected, strict=True)
        ],
        "abstained": [[] for _ in given],
        "tokens": [each["target_tokens"] for each in given],
        "ner_tags": [_tags(each) for each in given],
        "status": [Status.OK.value] * len(given),
        "status_detail": [each["detail"] for each in given],
    }
    changed = old
    for name, values in new.items():
        if name in rows.column_names:
            column = pa.array(values, old.schema.field(name).type)
            changed = record.with_column(changed, name, column)
    order = np.arange(rows.num_rows)
    order[places] = rows.num_rows + np.arange(len(places))
    return pa.concat_tables([rows, changed.cast(rows.schema)]).take(pa.array(order))


def publish(
    run: Run, snapshot: Snapshot, corrections: Sequence[Correction], file: str, held: Lease
) -> Snapshot:
    """The next snapshot: `snapshot`, the run's newest, with some of its rows corrected.

    `file` is where they come from, for the record. Raises JobError where the run cannot be written, or
    where what it was made from is gone.
    """
    ids = np.array([each.id for each in corrections], np.int64)
    rows = run.read(snapshot, ids=ids)
    made = pa.Table.from_pylist(
        [
            {
                "id": each.id,
                "revision": revision,
                "target_tokens": words,
                "entities": [{**span._asdict(), "score": 1.0} for span in each.spans],
                "detail": record.CORRECTED + file,
            }
            for each, revision, words in zip(
                corrections,
                _revisions(run, snapshot, ids).tolist(),
                rows["target_tokens"].to_pylist(),
                strict=True,
            )
        ],
        schema=SCHEMA,
    )
    index = run.index(snapshot)
    wanted = Wanted(index["id"].to_numpy(), index["revision"].to_numpy())
    name = f"{time.time_ns() // 1_000_000:012x}-{uuid.uuid4().hex[:12]}.parquet"
    run.keep_beside(_FOLDER, name, made)
    attempt = run.locate(wanted).attempts + 1
    shard = run.write_shard(put_over(made, rows), attempt=attempt)
    parent = (snapshot.parent, snapshot.parent_snapshot or 0) if snapshot.parent else None
    return run.publish(
        wanted,
        index.select(["file", "position"]),
        parent=parent,
        signature=snapshot.signature,
        corpus=snapshot.corpus,
        written=[shard],
        confirm=held.check,
    )


def _revisions(run: Run, snapshot: Snapshot, ids: Ints) -> Ints:
    """(n,) int64: the revisions that the corpus gave to rows, which the first run of the chain has."""
    while snapshot.parent:
        run = Run(run.folder.parent / snapshot.parent)
        snapshot = run.snapshot(snapshot.parent_snapshot or 0)
    index = run.index(snapshot)
    known, revisions = index["id"].to_numpy(), index["revision"].to_numpy()
    order = np.argsort(known, kind="stable")
    found: Ints = revisions[order[np.searchsorted(known, ids, sorter=order)]]
    return found


def _entities(
    given: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    sources = {(each["start"], each["end"]): each.get("source_index") for each in before}
    return [
        {
            **each,
            "confidence": 1.0,
            "source_index": sources.get((each["start"], each["end"])),
        }
        for each in given
    ]


def _tags(correction: dict[str, Any]) -> list[str]:
    spans = [Span(each["start"], each["end"], each["label"]) for each in correction["entities"]]
    return to_tags(spans, len(correction["target_tokens"]))
