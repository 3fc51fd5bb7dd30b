"""The index pass: what is in a corpus, where, in which order, and under which ids.

It comes first and reads everything once, so that whatever is wrong with a corpus shows before
anything is written, and so that stretches of it can then be read apart from each other, by all
cores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from projner import config, languages, record
from projner.corpus import conll, documents, files, hub, links, parquet, records, rows
from projner.corpus import ids as row_ids
from projner.corpus.arrays import Ints
from projner.corpus.files import File
from projner.corpus.reader import DOCUMENT, LINE, Feed, Position, Reader, Side
from projner.corpus.rows import Given
from projner.corpus.text import Text
from projner.errors import JobError
from projner.record import Status

CHUNK_ROWS = 1024
"""Rows in a chunk, at most. Few, so that a small corpus is work for many; see `packed`."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive rows of one file, or of files whose rows stand side by side."""

    readers: tuple[Reader, ...]
    begins: tuple[Position, ...]
    ends: tuple[int, ...]
    """The offset after the last row, in each file; after its record, where rows are parts of it."""
    origin: str
    """The name of the file that the rows' `origin` names."""
    first: int
    """Index of the first row in its file."""
    rows: int


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a corpus that one task reads. Small and picklable."""

    stretches: tuple[Stretch, ...]
    target_lang: str
    first: int
    """Index of the first row in the corpus."""
    rows: int


@dataclass(frozen=True)
class Index:
    """Every row of a corpus in order; with several target languages, language after language."""

    ids: Ints
    """(n,) int64, unique."""
    revisions: Ints
    """(n,) int64: see the record's column."""
    chunks: tuple[Chunk, ...]
    columns: tuple[str, ...]
    """The record columns that `read` gives."""
    partial: tuple[str, ...]
    """Those of `columns` that some rows are given without, such as `links` of a few rows."""
    rejected: int
    """Number of rows that come out `invalid`; 0 unless `corpus.on_error` is `status`."""
    documents: Ints | None = None
    """(n,) index of each row's document in its file, where rows are sentences of documents."""

    def origins(self) -> pa.Table:
        """The `file` (dictionary-encoded) and `position` in it of each row, or of its document."""
        stretches = [stretch for chunk in self.chunks for stretch in chunk.stretches]
        sizes = [stretch.rows for stretch in stretches]
        names = pa.array([stretch.origin for stretch in stretches]).dictionary_encode()
        if self.documents is None:
            positions = [np.arange(item.first, item.first + item.rows) for item in stretches]
        else:
            positions = [self.documents]
        number = np.repeat(names.indices.to_numpy(), sizes)
        file = pa.DictionaryArray.from_arrays(pa.array(number), names.dictionary)
        return pa.table({"file": file, "position": np.concatenate(positions)})


def index(corpus: config.Corpus, chunk_rows: int = CHUNK_ROWS) -> Index:
    """Read a whole corpus once, and say what is in it.

    Memory stays flat but for some tens of bytes a row. Raises JobError for what is wrong: missing,
    empty and other files, and sides of different lengths always; a bad row unless `corpus.on_error`
    is `status`.
    """
    salts = [f"{corpus.source_lang}>{code}" for code in corpus.target_lang]
    stretches: list[Stretch] = []
    digests: list[list[Ints]] = [[] for _ in salts]
    own: list[Ints] = []
    documents_of: list[Ints] = []
    columns: tuple[str, ...] = ()
    lacking: set[str] = set()
    rejected = 0
    for stretch, given, wrong in _stretches(corpus, chunk_rows):
        stretches.append(stretch)
        bad = np.fromiter(wrong, np.int64, len(wrong))
        for parts, salt in zip(digests, salts, strict=True):
            found = row_ids.digests(given.columns, salt)
            # What is wrong with a row is taken out of it, and so is not in its digest.
            if len(bad):
                found[bad] = row_ids.salted(found[bad], Status.INVALID.value)
            parts.append(found)
        if "id" in given.columns:
            own.append(_own_ids(given, wrong, digests[0][-1]))
        if given.documents is not None:
            documents_of.append(given.documents)
        columns = tuple(given.columns)
        lacking |= {
            name for name, column in given.columns.items() if column.null_count > len(wrong)
        }
        rejected += len(wrong)
    if not stretches:
        raise JobError(f"corpus.skip: {corpus.skip} leaves no sentences of the corpus; lower it")
    chunks: list[Chunk] = []
    for language in corpus.target_lang:
        for stretch in stretches:
            first = chunks[-1].first + chunks[-1].rows if chunks else 0
            chunks.append(Chunk((stretch,), language, first, stretch.rows))
    ids = np.concatenate([part for parts in digests for part in parts])
    revisions = np.zeros(len(ids), np.int64)
    if own:
        revisions, ids = ids, _unique(np.concatenate(own), chunks)
        if len(salts) > 1:
            ids = np.concatenate([row_ids.salted(ids, salt) for salt in salts])
    return Index(
        ids=row_ids.distinct(ids),
        revisions=revisions,
        chunks=tuple(packed(chunks, chunk_rows)),
        columns=_record_columns(columns),
        partial=tuple(sorted(lacking)),
        rejected=rejected * len(salts),
        documents=np.tile(np.concatenate(documents_of), len(salts)) if documents_of else None,
    )


def read(corpus: config.Corpus, chunk: Chunk, ids: Ints, revisions: Ints | None = None) -> pa.Table:
    """The rows of a chunk, with the `ids` and `revisions` (int64, one per row; by default 0) that the
    index gave them.

    Has the columns of the record that are given or follow from what is given. Rows that the index
    let pass although something is wrong with them are `invalid`.
    """
    tables = [_read(stretch, corpus, chunk.target_lang) for stretch in chunk.stretches]
    table = pa.concat_tables(tables).combine_chunks()
    if revisions is None:
        revisions = np.zeros(len(ids), np.int64)
    table = table.add_column(0, "revision", pa.array(revisions, pa.int64()))
    table = table.add_column(0, "id", pa.array(ids, pa.int64()))
    return table.cast(record.schema(table.column_names))


def packed(chunks: Sequence[Chunk], rows: int) -> list[Chunk]:
    """The same rows in fewer chunks: neighbours of one language together, up to `rows` rows."""
    found: list[Chunk] = []
    for chunk in chunks:
        last = found[-1] if found else None
        if last and last.target_lang == chunk.target_lang and last.rows + chunk.rows <= rows:
            together = _joined(last.stretches, chunk.stretches)
            found[-1] = Chunk(together, last.target_lang, last.first, last.rows + chunk.rows)
        else:
            found.append(chunk)
    return found


def _joined(before: tuple[Stretch, ...], after: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """Stretches in a row, as one where the first ends where the second begins."""
    last, first = before[-1], after[0]
    if last.readers != first.readers or last.first + last.rows != first.first:
        return before + after
    both = replace(last, ends=first.ends, rows=last.rows + first.rows)
    return (*before[:-1], both, *after[1:])


def _read(stretch: Stretch, corpus: config.Corpus, target_lang: str) -> pa.Table:
    tables = []
    for reader, begin, end in zip(stretch.readers, stretch.begins, stretch.ends, strict=True):
        parts = [table for table, _ in reader.blocks(begin, end)]
        table = pa.concat_tables(parts) if parts else pa.table({})
        # The last document may go on in the next stretch.
        tables.append(table.slice(0, stretch.rows) if DOCUMENT in table.column_names else table)
        if tables[-1].num_rows != stretch.rows:
            raise JobError(f"{reader.file.path}: has changed since it was read first; start again")
    given = rows.join(stretch.readers, tables)
    table = rows.whole(given, corpus, target_lang)
    name = pa.repeat(stretch.origin, stretch.rows)
    position = given.documents
    if position is None:
        position = np.arange(stretch.first, stretch.first + stretch.rows)
    origin = pa.StructArray.from_arrays([name, pa.array(position)], names=["file", "index"])
    return table.add_column(0, "origin", origin)


def _stretches(
    corpus: config.Corpus, chunk_rows: int
) -> Iterator[tuple[Stretch, Given, dict[int, str]]]:
    """The chosen rows of a corpus in stretches of at most `chunk_rows`, with what is given for them
    and what is wrong with them."""
    skip, left = corpus.skip, corpus.limit or sys.maxsize
    for readers in _groups(corpus):
        feeds = [Feed(reader) for reader in readers]
        while left:
            begins = tuple(feed.position for feed in feeds)
            tables = [feed.take(min(skip or left, chunk_rows)) for feed in feeds]
            if len({table.num_rows for table in tables}) > 1:
                _refuse_unequal(feeds)
            taken = tables[0].num_rows
            if not taken:
                break
            if skip:
                skip -= taken
                continue
            left -= taken
            given = rows.join(readers, tables)
            wrong = _problems(given, corpus)
            if wrong and corpus.on_error == "fail":
                # A line too many or too few is why the lines after it go wrong.
                _refuse_unequal(feeds)
                raise JobError(wrong[min(wrong)])
            ends = tuple(feed.end for feed in feeds)
            # The target's file where there is one.
            origin, first = readers[:2][-1].file.name, feeds[0].taken - taken
            yield Stretch(tuple(readers), begins, ends, origin, first, taken), given, wrong
        if not left:
            break
        if not feeds[0].taken:
            raise JobError(f"{readers[0].file.path}: holds no sentences; leave it out, or mend it")


def _groups(corpus: config.Corpus) -> Iterator[list[Reader]]:
    """The readers of a corpus: those whose rows stand side by side, group after group."""
    before: list[Reader] = []
    for readers in _opened(corpus):
        if corpus.documents:
            readers = [documents.Documents(reader, _language(corpus, reader)) for reader in readers]
        for reader, other in zip(readers, before, strict=False):
            if reader.columns != other.columns:
                raise JobError(
                    f"{reader.file.path} ({reader.kind}) gives {', '.join(reader.columns)}, and "
                    f"{other.file.path} ({other.kind}) {', '.join(other.columns)}; give files of "
                    "one kind, or make a job of each"
                )
        before = before or readers
        yield readers


def _language(corpus: config.Corpus, reader: Reader) -> str:
    return corpus.source_lang if "source_text" in reader.columns else corpus.target_lang[0]


def _opened(corpus: config.Corpus) -> Iterator[list[Reader]]:
    if corpus.format == "hub":
        for name in corpus.path:
            folder = os.path.join(corpus.root, name)
            file = File(name, folder if os.path.isdir(folder) else name)
            source = hub.Source(file, corpus.data_split, corpus.name, corpus.revision)
            yield [hub.hub(source, partial(_fields_of_schema, corpus, file))]
    elif corpus.format == "parquet":
        for file in files.expand(corpus.path, corpus.root, "path"):
            yield [parquet.parquet(file, partial(_fields_of_schema, corpus, file))]
    elif corpus.format == "jsonl":
        for file in files.expand(corpus.path, corpus.root, "path"):
            yield [records.json_lines(file, partial(records.choose, corpus, file.path))]
    else:
        keys = [key for key in ("source", "target", "links") if getattr(corpus, key)]
        lists = [files.expand(getattr(corpus, key), corpus.root, key) for key in keys]
        if len(set(map(len, lists))) > 1:
            sizes = ", ".join(f"{key} names {len(of)}" for key, of in zip(keys, lists, strict=True))
            raise JobError(f"corpus: {sizes} files; give as many of each, in the same order")
        for group in zip(*lists, strict=True):
            yield [_reader(corpus, key, file) for key, file in zip(keys, group, strict=True)]


def _fields_of_schema(corpus: config.Corpus, file: File, schema: pa.Schema) -> records.Fields:
    classes = partial(records.classes_of, schema)
    return records.choose(corpus, file.path, records.names_of(schema), classes)


def _reader(corpus: config.Corpus, key: str, file: File) -> Reader:
    if key == "links":
        return _links_reader(corpus, file)
    side: Side = "source" if key == "source" else "target"
    columns = corpus.token_column, corpus.tag_column
    is_conll = conll.is_conll(file, *columns)
    if corpus.format == "conll" or (corpus.format == "bitext" and is_conll):
        layout = conll.layout_of(file, *columns)
        return conll.Conll(file, side, layout, corpus.scheme, corpus.ignore)
    if is_conll:
        raise JobError(f"{file.path}: looks like CoNLL, not plain text; set corpus.format to conll")
    if files.is_json_lines(files.head(file)):
        raise JobError(
            f"{file.path}: looks like JSON lines, not plain text; set corpus.format to jsonl"
        )
    return Text(file, side)


def _links_reader(corpus: config.Corpus, file: File) -> Reader:
    notation = rows.notation_of(corpus)
    if not files.head(file).lstrip().startswith("{"):
        return links.pharaoh(file, notation, corpus.links_column)

    def fields(names: Mapping[str, bool]) -> records.Fields:
        records.require(corpus.links_field, file.path, names, "corpus.links_field")
        return records.Fields((("links", corpus.links_field),), notation)

    return records.json_lines(file, fields)


def _problems(given: Given, corpus: config.Corpus) -> dict[int, str]:
    langs = {"source": corpus.source_lang, "target": corpus.target_lang[0]}
    words = {
        side: rows.words(given, side, corpus, languages.find(langs[side]))
        for side in rows.counted(given)
    }
    return rows.problems(given, words, rows.notation_of(corpus))


def _refuse_unequal(feeds: Sequence[Feed]) -> None:
    counts = [feed.count() for feed in feeds]
    if len(set(counts)) > 1:
        sizes = ", ".join(
            f"{feed.reader.file.path} ({feed.reader.kind}) has {count}"
            for feed, count in zip(feeds, counts, strict=True)
        )
        raise JobError(
            f"{sizes} sentences; sentence n of each must belong together, so mend the files"
        )


def _own_ids(given: Given, wrong: dict[int, str], digests: Ints) -> Ints:
    """The users' ids; a row that something is wrong with may lack one and gets its digest."""
    own = given.columns["id"]
    lacking = np.asarray(own.is_null())
    path, lines = given.places["id"]
    for row in np.flatnonzero(lacking).tolist():
        if row not in wrong:
            raise JobError(f"{path}:{lines[row]}: has no id; give it a whole number of its own")
    return np.where(lacking, digests, own.fill_null(0).to_numpy())


def _unique(own: Ints, chunks: Sequence[Chunk]) -> Ints:
    """The users' ids. Raises JobError when two are the same."""
    if pair := row_ids.repeated(own):
        first, second = (_place(row, chunks) for row in pair)
        raise JobError(
            f"{second}: has the id {own[pair[1]]} of {first}; make ids unique, or choose another "
            "field for `id` under corpus.columns"
        )
    return own


def _place(row: int, chunks: Sequence[Chunk]) -> str:
    """`FILE:LINE` of a row of the corpus."""
    chunk = next(chunk for chunk in chunks if row < chunk.first + chunk.rows)
    row -= chunk.first
    for stretch in chunk.stretches:
        if row < stretch.rows:
            break
        row -= stretch.rows
    reader = stretch.readers[0]
    table = pa.concat_tables(part for part, _ in reader.blocks(stretch.begins[0], stretch.ends[0]))
    return f"{reader.file.path}:{table[LINE][row]}"


def _record_columns(given: Sequence[str]) -> tuple[str, ...]:
    always = {
        "id",
        "revision",
        "origin",
        "source_lang",
        "target_lang",
        "status",
        "status_detail",
        *given,
    }
    for side in rows.sides(given):
        always |= {f"{side}_text", f"{side}_tokens"}
    return tuple(name for name in record.COLUMNS if name in always)
