"""Data sets of the Hugging Face hub, or saved by `datasets` in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from projner.corpus import records
from projner.corpus.files import File
from projner.corpus.reader import Position
from projner.corpus.records import Fields
from projner.errors import JobError

_BATCH = 1024


@dataclass(frozen=True)
class Source:
    """Which data set: a folder that `save_to_disk` wrote, or a name on the hub, to be streamed."""

    file: File
    split: str
    config: str | None = None
    revision: str | None = None

    def open(self) -> Any:
        """The data set, as `datasets` gives it. Raises JobError."""
        try:
            import datasets
        except ImportError:
            raise JobError(
                "format hub needs the package datasets; pip install 'projner[hub]'"
            ) from None
        try:
            if not os.path.isdir(self.file.path):
                return datasets.load_dataset(
                    self.file.name,
                    self.config,
                    split=self.split,
                    revision=self.revision,
                    streaming=True,
                )
            found = datasets.load_from_disk(self.file.path)
        # Whatever the network, the hub or a loading script may raise.
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise JobError(
                f"{self.file.name}: cannot be loaded ({type(error).__name__}: {reason}); mend "
                "corpus.path, name, data_split or revision"
            ) from None
        if isinstance(found, datasets.Dataset):
            return found
        if self.split not in found:
            raise JobError(
                f"{self.file.path}: has no split {self.split!r}, only {', '.join(found)}; set "
                "corpus.data_split"
            )
        return found[self.split]


@dataclass(frozen=True)
class Hub:
    """A split of a data set with one record a row."""

    source: Source
    fields: Fields
    kind = "data set"

    @property
    def file(self) -> File:
        return self.source.file

    @property
    def columns(self) -> tuple[str, ...]:
        return self.fields.columns

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        rows = self.source.open().skip(begin.offset).with_format("arrow")
        tables = rows.iter(batch_size=_BATCH)
        return records.from_tables(self.file, self.fields, tables, begin.offset, end)


def hub(source: Source, fields: Callable[[pa.Schema], Fields]) -> Hub:
    """The reader of a data set; `fields` chooses among those of its schema. Raises JobError."""
    rows = source.open()
    if rows.features is not None:
        schema = rows.features.arrow_schema
    else:
        first = next(rows.with_format("arrow").iter(batch_size=_BATCH), None)
        if first is None:
            raise JobError(f"{source.file.name}: is empty; choose another split")
        schema = first.schema
    chosen = fields(schema)
    records.check_types(source.file, chosen, schema)
    return Hub(source, chosen)
