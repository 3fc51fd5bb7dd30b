"""Documents: records of text whose sentences become the rows.

Sentences follow from a record's text and its language, so a document can be cut anywhere: whoever
reads on from a sentence splits its record again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from projner import languages, record, sentences
from projner.corpus import reader
from projner.corpus.files import File
from projner.corpus.reader import DOCUMENT, LINE, OFFSET, PROBLEM, WITHIN, Position, Reader
from projner.corpus.text import Text

_RECORDS = 256
"""Records that are split at once."""


class _Sentence(NamedTuple):
    text: str
    name: str
    """Of its document."""
    number: int
    """In its document."""
    document: int
    record: int
    within: int
    """Its number in its record."""


@dataclass(frozen=True)
class Documents:
    """The sentences of a file of documents: in plain text, blocks of lines that blank ones part;
    elsewhere a record each.

    A record without sentences is one row, and so is one that something is wrong with, as it stands.
    """

    records: Reader
    """Gives perhaps `doc_id`, and one side's text."""
    language: str

    @property
    def file(self) -> File:
        return self.records.file

    @property
    def kind(self) -> str:
        return f"{self.records.kind}, documents"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.records.columns[-1], "doc")

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        position = begin
        for records, after in self.records.blocks(begin, end):
            for first in range(0, records.num_rows, _RECORDS):
                following = records.slice(first + _RECORDS)
                to = reader.position_of(following) if following else after
                table, position = self._split(records.slice(first, _RECORDS), position, to)
                yield table, position

    def _split(self, records: pa.Table, begin: Position, to: Position) -> tuple[pa.Table, Position]:
        """The sentences of records, the first of which `begin` lies in, and the position after."""
        language = languages.find(self.language)
        is_plain = isinstance(self.records, Text)
        problems = records[PROBLEM].to_pylist()
        names = [None] * records.num_rows
        if "doc_id" in records.column_names:
            names = records["doc_id"].to_pylist()
        found: list[_Sentence] = []
        document, number = begin.document, begin.sentence - begin.within
        for row, text in enumerate(records[self.columns[0]].to_pylist()):
            spans = sentences.split(text or "", language) if not problems[row] else []
            if is_plain and not spans and not problems[row]:
                # A blank line ends the document that is open, if one is.
                document, number = (document + 1, 0) if number else (document, 0)
                continue
            name = names[row] or f"{self.file.name}#{document}"
            parts = [text[start:stop] for start, stop in spans] or [text or ""]
            for within, part in enumerate(parts):
                found.append(_Sentence(part, name, number, document, row, within))
                number += 1
            if not is_plain:
                document, number = document + 1, 0
        table = self._table(records, found[begin.within :], problems)
        return table, Position(to.offset, to.line, document, number)

    def _table(
        self, records: pa.Table, found: list[_Sentence], problems: list[str | None]
    ) -> pa.Table:
        names = pa.array([each.name for each in found], pa.string())
        numbers = pa.array([each.number for each in found], pa.int32())
        table = pa.table(
            {
                self.columns[0]: pa.array([each.text for each in found], pa.string()),
                "doc": pa.StructArray.from_arrays([names, numbers], fields=list(record.DOC)),
                DOCUMENT: pa.array([each.document for each in found], pa.int64()),
                WITHIN: pa.array([each.within for each in found], pa.int64()),
            }
        )
        rows = np.array([each.record for each in found], np.int64)
        wrong = {place: what for place, row in enumerate(rows) if (what := problems[row])}
        offsets, lines = (records[name].to_numpy()[rows] for name in (OFFSET, LINE))
        return reader.place(table, offsets, lines, wrong)
