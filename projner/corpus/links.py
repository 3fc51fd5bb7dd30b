"""Links between words that are given: Pharaoh lines (`0-0 1-2`), or pairs in a field of a record.

In Pharaoh lines `3p5` (a possible link) counts as a link, and `3-5:0.9` has a score in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner.corpus import arrays, files, reader
from projner.corpus.files import File
from projner.corpus.reader import Position

_LINK = r"^(?P<left>\d{1,9})[-p](?P<right>\d{1,9})(?P<score>:(?:0|1|[01]?\.\d{1,20}))?$"


@dataclass(frozen=True)
class Notation:
    """How links count words, and which side they name first."""

    base: int = 0
    direction: str = "source-target"

    def column(self, text: pa.StringArray) -> tuple[pa.ListArray, dict[int, str]]:
        """The record's links from Pharaoh lines, and what is wrong with rows; null gives null."""
        bounds, written = arrays.flat(arrays.words_at_white_space(text))
        # Few different links make up many, so each is parsed once.
        encoded = written.dictionary_encode()
        at, different = encoded.indices, encoded.dictionary
        fields = pc.extract_regex(different, _LINK)
        left, right, score = (pc.struct_field(fields, name) for name in ("left", "right", "score"))
        problems: dict[int, str] = {}
        if fields.null_count:
            for place in np.flatnonzero(fields.is_null().take(at)).tolist():
                row = int(np.searchsorted(bounds, place, side="right")) - 1
                what = f"{written[place].as_py()!r} is not a link; write pairs of word numbers"
                problems.setdefault(row, f"{what}, like 3-5")
            valid = fields.is_valid()
            left, right = (pc.if_else(valid, number, str(self.base)) for number in (left, right))
            score = pc.if_else(valid, score, "")
        score = pc.utf8_slice_codeunits(score, 1)
        score = pc.if_else(pc.equal(score, ""), "1", score).cast(pa.float32())
        pair = self.pairs(left.cast(pa.int32()), right.cast(pa.int32()))
        source, target, score = (values.take(at) for values in (*pair, score))
        return arrays.links(bounds, source, target, score, given=text), problems

    def pairs(self, left: pa.Array, right: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Source and target indices from 0, out of numbers as they are written."""
        left, right = pc.subtract(left, self.base), pc.subtract(right, self.base)
        return (left, right) if self.direction == "source-target" else (right, left)

    def write(self, source: int, target: int) -> str:
        """One link as it is written."""
        pair = (source, target) if self.direction == "source-target" else (target, source)
        return f"{pair[0] + self.base}-{pair[1] + self.base}"


@dataclass(frozen=True)
class Pharaoh:
    """A file with a sentence's links in each line, perhaps in a column among others."""

    file: File
    notation: Notation
    column: int | None
    """The tab-separated column with the pairs; None where a line holds nothing else."""
    kind = "links"
    columns = ("links",)

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        for lines in files.lines(self.file, begin.offset, begin.line, end):
            text, problems = self._pairs(lines.text)
            links, wrong = self.notation.column(text)
            number = np.arange(1, len(text) + 1) + lines.before
            problems = {
                row: f"{self.file.path}:{number[row]}: {what}"
                for row, what in (wrong | problems).items()
            }
            table = pa.table({"links": links})
            rows = reader.place(table, lines.offset, number, problems | lines.problems)
            yield rows, Position(lines.end, lines.before + len(text))

    def _pairs(self, text: pa.StringArray) -> tuple[pa.StringArray, dict[int, str]]:
        if self.column is None:
            return text, {}
        bounds, values = arrays.flat(pc.split_pattern(text, "\t"))
        counts = np.diff(bounds)
        column = np.full(len(counts), self.column) if self.column >= 0 else counts + self.column
        lacks = (column < 0) | (column >= counts)
        what = f"has no column {self.column} between its tabs (counted from 0)"
        mend = "mend the line, or set corpus.links_column"
        problems = dict.fromkeys(np.flatnonzero(lacks).tolist(), f"{what}; {mend}")
        return values.take(pa.array(np.where(lacks, 0, column) + bounds[:-1])), problems


def pharaoh(file: File, notation: Notation, column: int) -> Pharaoh:
    """The reader of a Pharaoh file; `column` counts where the first line that holds text has tabs.

    Raises JobError when the file is empty or no text.
    """
    first = next((line for line in files.head(file).split("\n") if line.strip()), "")
    return Pharaoh(file, notation, column if "\t" in first else None)
