"""Plain text: a sentence a line, blank where it is empty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from projner.corpus import files, reader
from projner.corpus.files import File
from projner.corpus.reader import Position, Side


@dataclass(frozen=True)
class Text:
    """A plain text file as one side of a corpus."""

    file: File
    side: Side
    kind = "plain text"

    @property
    def columns(self) -> tuple[str, ...]:
        return (f"{self.side}_text",)

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        for lines in files.lines(self.file, begin.offset, begin.line, end):
            table = pa.table([lines.text], names=list(self.columns))
            number = np.arange(1, len(lines.text) + 1) + lines.before
            rows = reader.place(table, lines.offset, number, lines.problems)
            yield rows, Position(lines.end, lines.before + len(lines.text))
