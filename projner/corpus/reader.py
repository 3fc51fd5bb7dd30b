"""What a reader is, and how its rows are taken in stretches of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner.corpus.files import File

OFFSET, LINE, PROBLEM = "_offset", "_line", "_problem"
"""Columns that a reader adds to the record's: where a row begins, in bytes (rows in Parquet), the
number of its first line from 1, and what is wrong with it (null where nothing is)."""
DOCUMENT, WITHIN = "_document", "_within"
"""Columns besides, where rows are sentences of documents: the index of the document in its file,
and the number of sentences that begin at the same offset and come before."""

Side = Literal["source", "target"]


class Position(NamedTuple):
    """Where a row can begin: bytes (unpacked) and lines before it; in Parquet both count rows."""

    offset: int = 0
    line: int = 0
    document: int = 0
    """Documents before the row's own."""
    sentence: int = 0
    """Sentences of its document before it."""
    within: int = 0
    """Those of them that begin at the same offset."""


class Reader(Protocol):
    """One file of a corpus, in a known format. Small and picklable."""

    @property
    def file(self) -> File: ...

    @property
    def kind(self) -> str:
        """The format's name, for messages."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Record columns that the file gives."""

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        """Rows from `begin` to the offset `end` (or the end of the file), in tables of any length
        with `columns`, `OFFSET`, `LINE` and `PROBLEM`; and the position after each."""


def place(
    table: pa.Table, offset: np.ndarray, line: np.ndarray, problems: dict[int, str]
) -> pa.Table:
    """`table` with the columns that say where its rows are and what is wrong with them."""
    rows = len(offset)
    if problems:
        problem = pa.array([problems.get(row) for row in range(rows)], pa.string())
    else:
        problem = pa.nulls(rows, pa.string())
    table = table.append_column(OFFSET, pa.array(offset, pa.int64()))
    table = table.append_column(LINE, pa.array(line, pa.int64()))
    return table.append_column(PROBLEM, problem)


def position_of(table: pa.Table) -> Position:
    """Where the first row of a reader's table begins."""
    offset, line = table[OFFSET][0].as_py(), table[LINE][0].as_py() - 1
    if DOCUMENT not in table.column_names:
        return Position(offset, line)
    sentence = table["doc"][0].as_py()["sentence"]
    within = table[WITHIN][0].as_py()
    return Position(offset, line, table[DOCUMENT][0].as_py(), sentence, within)


class Feed:
    """The rows of a reader, one stretch after the other."""

    def __init__(self, reader: Reader):
        self.reader = reader
        self.position = Position()
        """Where the next row begins."""
        self.end = 0
        """The offset at which everything taken has ended."""
        self.taken = 0
        self._blocks = reader.blocks(Position(), None)
        self._held: pa.Table | None = None
        self._after = Position()

    def take(self, rows: int) -> pa.Table:
        """The next rows; fewer only at the end of the file, where there may be none."""
        parts = []
        while rows:
            if not self._held:
                block = next(self._blocks, None)
                if block is None:
                    break
                self._held, self._after = block
            parts.append(self._held.slice(0, rows))
            self._held = self._held.slice(rows)
            rows -= parts[-1].num_rows
            self.taken += parts[-1].num_rows
            self.position = position_of(self._held) if self._held else self._after
            self.end = self._end()
        return pa.concat_tables(parts).combine_chunks() if parts else pa.table({})

    def _end(self) -> int:
        if not self._held:
            return self._after.offset
        first = 0
        if WITHIN in self._held.column_names:
            first = pc.index(self._held[WITHIN], 0).as_py()
        return self._held[OFFSET][first].as_py() if first >= 0 else self._after.offset

    def count(self) -> int:
        """How many rows the whole file has; reads it to its end."""
        self.taken += self._held.num_rows if self._held else 0
        self.taken += sum(table.num_rows for table, _ in self._blocks)
        self._held = None
        return self.taken
