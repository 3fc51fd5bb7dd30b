"""Rows as readers give them, made whole: the record's columns, and what is wrong with a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import config, languages, record
from projner import words as word_rules
from projner.corpus import arrays
from projner.corpus.arrays import Ints
from projner.corpus.links import Notation
from projner.corpus.reader import DOCUMENT, LINE, PROBLEM, Reader
from projner.languages import Language
from projner.record import Status

SIDES = ("source", "target")


class Given(NamedTuple):
    """Some rows, from readers side by side."""

    columns: dict[str, pa.Array]
    """Record columns that the readers gave."""
    problems: dict[int, str]
    """What the readers found wrong, by row."""
    places: dict[str, tuple[str, pa.Array]]
    """The file of each column, and the rows' lines in it."""
    rows: int
    documents: Ints | None
    """Index of each row's document in its file, where rows are sentences of documents."""


def join(readers: Sequence[Reader], tables: Sequence[pa.Table]) -> Given:
    """The same rows of several readers, side by side."""
    columns: dict[str, pa.Array] = {}
    problems: dict[int, str] = {}
    places: dict[str, tuple[str, pa.Array]] = {}
    for reader, table in zip(readers, tables, strict=True):
        for name in reader.columns:
            columns[name] = _one(table[name])
            places[name] = reader.file.path, _one(table[LINE])
        if table[PROBLEM].null_count < table.num_rows:
            found = enumerate(table[PROBLEM].to_pylist())
            problems = {row: what for row, what in found if what} | problems
    documents = tables[0][DOCUMENT].to_numpy() if DOCUMENT in tables[0].column_names else None
    return Given(columns, problems, places, tables[0].num_rows, documents)


def sides(columns: Sequence[str]) -> list[str]:
    """The sides that are among some columns."""
    return [side for side in SIDES if {f"{side}_text", f"{side}_tokens"} & set(columns)]


def words(given: Given, side: str, corpus: config.Corpus, language: Language) -> pa.ListArray:
    """The words of a side: those given, else those of its text by `corpus.split`."""
    if f"{side}_tokens" in given.columns:
        return _without_nulls(given.columns[f"{side}_tokens"])
    text = given.columns[f"{side}_text"].fill_null("")
    by_space = corpus.split == "whitespace" or (corpus.split == "auto" and side in counted(given))
    if by_space:
        return arrays.words_at_white_space(text)
    found = [word_rules.words(sentence, language) for sentence in text.to_pylist()]
    return pa.array(found, record.type_of(f"{side}_tokens"))


def counted(given: Given) -> list[str]:
    """The sides whose words must be known for `problems` to check what counts them."""
    names = given.columns.keys()
    if "links" in names:
        return list(SIDES)
    return ["source"] if "source_entities" in names else []


def problems(given: Given, words: Mapping[str, pa.ListArray], notation: Notation) -> dict[int, str]:
    """What is wrong with each row that something is wrong with, as `FILE:LINE: what; the mend`.

    `words` has those of the `counted` sides at least; `notation` is how messages write a link.
    """
    found = dict(given.problems)

    def add(column: str, wrong: dict[int, str]) -> None:
        path, lines = given.places[column]
        for row, what in wrong.items():
            found.setdefault(row, f"{path}:{lines[row]}: {what}")

    for side in SIDES:
        text, tokens = f"{side}_text", f"{side}_tokens"
        if {text, tokens} <= given.columns.keys():
            add(tokens, _not_in_text(given.columns[text], given.columns[tokens], tokens))
    if "source_entities" in given.columns:
        sizes = arrays.counts(words["source"])
        add("source_entities", _outside_entities(given.columns["source_entities"], sizes))
    if "links" in given.columns:
        sizes_of = {side: arrays.counts(words[side]) for side in SIDES}
        add("links", _outside_links(given.columns["links"], sizes_of, notation))
    return found


def whole(given: Given, corpus: config.Corpus, target_lang: str) -> pa.Table:
    """The rows with the record columns that are given or follow; without id and origin."""
    langs = {"source": corpus.source_lang, "target": target_lang}
    columns = {f"{side}_lang": pa.repeat(langs[side], given.rows) for side in SIDES}
    if "doc" in given.columns:
        columns["doc"] = given.columns["doc"]
    found_words: dict[str, pa.ListArray] = {}
    for side in sides(list(given.columns)):
        language = languages.find(langs[side])
        found_words[side] = words(given, side, corpus, language)
        columns[f"{side}_tokens"] = found_words[side]
        columns[f"{side}_text"] = _text(given, side, found_words[side], language)
    invalid = problems(given, found_words, notation_of(corpus))
    status = np.full(given.rows, Status.OK.value, object)
    detail = np.full(given.rows, None, object)
    for side, tokens in found_words.items():
        is_empty = arrays.counts(tokens) == 0
        status[is_empty] = Status.EMPTY.value
        detail[is_empty] = f"the {side} side has no words"
    for row, what in invalid.items():
        status[row], detail[row] = Status.INVALID.value, what
    good = pa.array(status != Status.INVALID.value)
    for name in given.columns.keys() & {"source_entities", "links"}:
        column = given.columns[name]
        columns[name] = pc.if_else(good, column, pa.nulls(1, column.type)[0]) if invalid else column
    columns["status"] = pa.array(status, pa.string())
    columns["status_detail"] = pa.array(detail, pa.string())
    return pa.table({name: columns[name] for name in record.COLUMNS if name in columns})


def notation_of(corpus: config.Corpus) -> Notation:
    """How the corpus writes links."""
    return Notation(corpus.links_base, corpus.links_direction)


def _text(given: Given, side: str, tokens: pa.ListArray, language: Language) -> pa.StringArray:
    text = given.columns.get(f"{side}_text")
    if text is not None:
        return text.fill_null("")
    if language.words == "spaced":
        return pc.binary_join(tokens, " ")
    return pa.array([word_rules.join(words, language) for words in tokens.to_pylist()], pa.string())


def _not_in_text(text: pa.StringArray, tokens: pa.ListArray, name: str) -> dict[int, str]:
    same = pc.equal(pc.binary_join(tokens, " "), text).fill_null(False)
    wrong: dict[int, str] = {}
    for row in np.flatnonzero(pc.invert(same)).tolist():
        try:
            word_rules.offsets(text[row].as_py() or "", tokens[row].as_py() or [])
        except ValueError as error:
            wrong[row] = f"{name}: {error}; give words that stand in the text, in order"
    return wrong


def _outside_entities(column: pa.ListArray, sizes: Ints) -> dict[int, str]:
    bounds, flat = arrays.flat(column)
    start, end = (pc.struct_field(flat, name).to_numpy() for name in ("start", "end"))
    row = arrays.rows_of(bounds)
    wrong: dict[int, str] = {}
    for at in np.flatnonzero((start < 0) | (end <= start) | (end > sizes[row])).tolist():
        what = f"entity {start[at]}..{end[at]} (end exclusive) is empty or outside the sentence"
        wrong.setdefault(int(row[at]), f"{what} of {sizes[row[at]]} words; mend it")
    return wrong


def _outside_links(
    column: pa.ListArray, sizes: Mapping[str, Ints], notation: Notation
) -> dict[int, str]:
    bounds, flat = arrays.flat(column)
    indices = {side: pc.struct_field(flat, side).to_numpy() for side in SIDES}
    row = arrays.rows_of(bounds)
    outside = np.zeros(len(row), bool)
    for side, index in indices.items():
        outside |= (index < 0) | (index >= sizes[side][row])
    wrong: dict[int, str] = {}
    for at in np.flatnonzero(outside).tolist():
        link = notation.write(*(int(indices[side][at]) for side in SIDES))
        lengths = " and ".join(str(sizes[side][row[at]]) for side in SIDES)
        wrong.setdefault(
            int(row[at]),
            f"link {link} is outside the sentences (source and target have {lengths} words, counted"
            f" from {notation.base}); mend it, or set corpus.links_base or corpus.links_direction",
        )
    return wrong


def _without_nulls(column: pa.ListArray) -> pa.ListArray:
    return arrays.lists(*arrays.flat(column)) if column.null_count else column


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
