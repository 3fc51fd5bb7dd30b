"""Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from projner import storage
from projner.corpus import records
from projner.corpus.files import File
from projner.corpus.reader import Position
from projner.corpus.records import Fields
from projner.errors import JobError

_BATCH = 4096


@dataclass(frozen=True)
class Parquet:
    """A Parquet file with one record a row."""

    file: File
    fields: Fields
    kind = "Parquet"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.fields.columns

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        tables = self._tables(begin.offset)
        return records.from_tables(self.file, self.fields, tables, begin.offset, end)

    def _tables(self, begin: int) -> Iterator[pa.Table]:
        """Tables of the fields from row `begin` on."""
        with _open(self.file) as parquet:
            before, group = 0, 0
            while group < parquet.num_row_groups:
                rows = parquet.metadata.row_group(group).num_rows
                if before + rows > begin:
                    break
                before, group = before + rows, group + 1
            present = parquet.schema_arrow.names
            names = {
                field if field in present else field.partition(".")[0]
                for _, field in self.fields.names
            }
            batches = parquet.iter_batches(
                _BATCH, row_groups=range(group, parquet.num_row_groups), columns=sorted(names)
            )
            while True:
                try:
                    batch = next(batches, None)
                except (OSError, pa.ArrowException) as error:
                    raise JobError(
                        f"{self.file.path}: cannot be read ({error}); is it whole?"
                    ) from None
                if batch is None:
                    break
                table = pa.Table.from_batches([batch]).slice(max(0, begin - before))
                before += batch.num_rows
                if table.num_rows:
                    yield table


def parquet(file: File, fields: Callable[[pa.Schema], Fields]) -> Parquet:
    """The reader of a Parquet file; `fields` chooses among those of its schema.

    Raises JobError when the file is something else, or a field has another type than it should.
    """
    with _open(file) as opened:
        schema = opened.schema_arrow
    chosen = fields(schema)
    records.check_types(file, chosen, schema)
    return Parquet(file, chosen)


def _open(file: File) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(storage.at(file.path).open())
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise JobError(
            f"{file.path}: cannot be read as Parquet ({reason}); give a whole Parquet file, or "
            "mend corpus.format"
        ) from None
