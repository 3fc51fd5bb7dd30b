"""The labelled sentences of a snapshot, in corpus order, a few at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import record
from projner.record import Status
from projner.runs.run import Run, Snapshot
from projner.tags import Span, to_tags

BATCH_ROWS = 10_000
COLUMNS = (
    "doc",
    "target_lang",
    "source_text",
    "target_text",
    "target_tokens",
    "target_entities",
    "status",
    "status_detail",
)


@dataclass(frozen=True)
class Choice:
    """Which sentences and entities are exported."""

    statuses: tuple[str, ...] = (Status.OK.value,)
    languages: tuple[str, ...] = ()
    """Target languages (FLORES-200); all by default."""
    classes: tuple[str, ...] = ()
    """Classes of entities; all by default."""
    min_score: float = 0.0
    min_confidence: float = 0.0
    corrected: bool = False
    """Only those whose labels people gave."""


class Sentence(NamedTuple):
    """One row of a run, as a writer sees it."""

    id: int
    language: str
    doc: str | None
    """The document it comes from, where there is one."""
    text: str
    source_text: str | None
    tokens: list[str]
    entities: list[dict[str, Any]]
    """`record.PROJECTED`, in reading order."""
    status: str
    detail: str | None

    @property
    def tags(self) -> list[str]:
        """IOB2, one for each token."""
        spans = (Span(each["start"], each["end"], each["label"]) for each in self.entities)
        return to_tags(spans, len(self.tokens))

    def offsets(self) -> list[tuple[int, int]]:
        """Where each token stands in `text`, in characters, end exclusive."""
        return offsets(self.text, self.tokens)

    @property
    def corrected(self) -> bool:
        """Whether people gave its labels."""
        return (self.detail or "").startswith(record.CORRECTED)


def offsets(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where each token stands in a text, in characters, end exclusive."""
    found, end = [], 0
    for token in tokens:
        start = text.index(token, end)
        end = start + len(token)
        found.append((start, end))
    return found


def sentences(run: Run, snapshot: Snapshot, choice: Choice) -> Iterator[Sentence]:
    """The chosen sentences of a snapshot. What is in memory at once does not grow with the run."""
    for table in tables(run, snapshot, COLUMNS):
        table = table.filter(_wanted(table, choice))
        for row in table.to_pylist():
            tokens = row["target_tokens"] or []
            text = row["target_text"]
            yield Sentence(
                id=row["id"],
                language=row["target_lang"],
                doc=row["doc"]["id"] if row.get("doc") else None,
                text=" ".join(tokens) if text is None else text,
                source_text=row["source_text"],
                tokens=tokens,
                entities=[each for each in row["target_entities"] or [] if _kept(each, choice)],
                status=row["status"],
                detail=row["status_detail"],
            )


def tables(
    run: Run, snapshot: Snapshot, columns: Collection[str], rows: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """A snapshot's rows in corpus order, up to `rows` at once; columns that it lacks are null."""
    index = run.index(snapshot).select(["id", "shard"])
    for start in range(0, index.num_rows, rows):
        part = index.slice(start, rows)
        ids, shard_of = part["id"].to_numpy(), part["shard"].to_numpy()
        read = [
            _with_all(run.read_shard(snapshot.shards[shard], ids[shard_of == shard], None), columns)
            for shard in np.unique(shard_of)
        ]
        table = pa.concat_tables(read)
        order = np.argsort(table["id"].to_numpy())
        yield table.take(pa.array(order[np.argsort(np.argsort(ids))]))


def _with_all(table: pa.Table, columns: Collection[str]) -> pa.Table:
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, record.type_of(name)))
    return table.select(["id", *columns])


def _wanted(table: pa.Table, choice: Choice) -> pa.ChunkedArray:
    wanted = pc.is_in(table["status"], value_set=pa.array(choice.statuses))
    if choice.languages:
        known = pc.is_in(table["target_lang"], value_set=pa.array(choice.languages))
        wanted = pc.and_(wanted, known)
    if choice.corrected:
        wanted = pc.and_(wanted, pa.array(record.is_corrected(table["status_detail"])))
    return wanted


def _kept(entity: dict[str, Any], choice: Choice) -> bool:
    confidence = entity.get("confidence")
    return (
        (not choice.classes or entity["label"] in choice.classes)
        and entity["score"] >= choice.min_score
        # What nobody has calibrated is not known to be doubtful.
        and (confidence is None or confidence >= choice.min_confidence)
    )
