"""CoNLL: a word a line with its tag in another column, a blank line between sentences.

Any number of columns, parted by tabs or by spaces. Skipped are `-DOCSTART-` lines, and comments:
lines that begin with `#`, stand before a sentence's first word, and are not word lines themselves,
as `# O` is. A `lang:` prefix that every word of a file has, as in WikiANN, is taken off.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import tags
from projner.corpus import arrays, files, reader
from projner.corpus.arrays import Ints
from projner.corpus.files import File, Lines
from projner.corpus.reader import Position, Side
from projner.errors import JobError

_DOCSTART = "-DOCSTART-"
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_PREFIX = re.compile(r"[a-z]{2,}(?:-[a-z]+)*:")


@dataclass(frozen=True)
class Layout:
    """How the lines of one CoNLL file are to be read; columns are counted from 0."""

    separator: Literal["tab", "space"]
    columns: int
    token_column: int
    tag_column: int
    prefix: str
    """Taken off every word; empty in most files."""


@dataclass(frozen=True)
class Look:
    """What the beginning of a file says about it."""

    layout: Layout
    line: str
    """The first word line."""
    number: int
    """Its number, from 1."""
    even: float
    """Share of lines that have the layout's number of columns."""
    tagged: float
    """Share of lines that, besides, have a tag where the layout says so."""


class Sentence(NamedTuple):
    """One sentence as it stands in a file."""

    tokens: list[str]
    tags: list[str]


class Sentences(NamedTuple):
    """The sentences of some lines. Arrays of words have one value a word, over all sentences."""

    bounds: Ints
    """(n + 1,) where each sentence begins among the words."""
    tokens: pa.StringArray
    tags: pa.StringArray
    offset: Ints
    """(n,) byte at which each sentence's first word line begins."""
    number: Ints
    """(words,) number of each word's line, from 1."""
    problems: dict[int, str]
    """What is wrong with a word's line."""


@dataclass(frozen=True)
class Conll:
    """A CoNLL file as one side of a corpus: words on both, entities on the source side."""

    file: File
    side: Side
    layout: Layout
    scheme: Literal["IOB1", "IOB2", "IOBES"]
    ignore: tuple[str, ...]
    kind = "CoNLL"

    @property
    def columns(self) -> tuple[str, ...]:
        tokens = f"{self.side}_tokens"
        return (tokens, "source_entities") if self.side == "source" else (tokens,)

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        for lines in _lines(self.file, begin, end):
            sentences = parse(self.file, self.layout, lines)
            position = Position(lines.end, lines.before + len(lines.text))
            yield self._table(sentences), position

    def _table(self, sentences: Sentences) -> pa.Table:
        bounds, problems = sentences.bounds, dict(sentences.problems)
        columns = [arrays.lists(bounds, sentences.tokens)]
        if self.side == "source":
            scheme = tags.SCHEMES[self.scheme]
            entities, wrong = arrays.entities_of_tags(bounds, sentences.tags, scheme, self.ignore)
            columns.append(entities)
            for word, what in wrong.items():
                where = f"{self.file.path}:{sentences.number[word]}"
                mend = "mend it, or set corpus.scheme or corpus.tag_column"
                problems.setdefault(word, f"{where}: {what}; {mend}")
        first: dict[int, str] = {}
        for word in sorted(problems):
            row = int(np.searchsorted(bounds, word, side="right")) - 1
            first.setdefault(row, problems[word])
        table = pa.table(columns, names=list(self.columns))
        return reader.place(table, sentences.offset, sentences.number[bounds[:-1]], first)


def look(file: File, token_column: int, tag_column: int | None) -> Look | None:
    """What the beginning of a file looks like, read as CoNLL; None where it holds nothing.

    Without a `tag_column` it is the last one in which most lines have a tag. Raises JobError when
    the file is empty or no text.
    """
    numbered = [
        (number, line.removesuffix("\r"))
        for number, line in enumerate(files.head(file).split("\n"), 1)
        if line.strip() and not line.startswith(_DOCSTART)
    ]
    # A line with # may be a comment: it says nothing as long as there are others.
    numbered = [item for item in numbered if not item[1].startswith("#")] or numbered
    if not numbered:
        return None
    number, line = numbered[0]
    separator: Literal["tab", "space"] = "tab" if "\t" in line else "space"
    rows = [_split(line, separator) for _, line in numbered]
    columns, even = Counter(map(len, rows)).most_common(1)[0]
    rows = [row for row in rows if len(row) == columns]

    def tagged(column: int) -> float:
        if columns < 2 or not -columns <= column < columns:
            return 0.0
        return sum(_is_tag(row[column]) for row in rows) / len(numbered)

    if tag_column is None:
        choices = (column for column in range(columns - 1, -1, -1) if tagged(column) > 0.5)
        tag_column = next(choices, -1)
    words = [row[token_column] for row in rows] if -columns <= token_column < columns else [""]
    prefix = match.group() if (match := _PREFIX.match(words[0])) else ""
    if not all(word.startswith(prefix) for word in words):
        prefix = ""
    layout = Layout(separator, columns, token_column, tag_column, prefix)
    return Look(layout, line, number, even / len(numbered), tagged(tag_column))


def is_conll(file: File, token_column: int, tag_column: int) -> bool:
    """Whether most lines at the beginning of a file have a tag in the tag column."""
    seen = look(file, token_column, tag_column)
    return seen is not None and seen.tagged > 0.5


def layout_of(file: File, token_column: int, tag_column: int | None) -> Layout:
    """The layout of a file that is meant to be CoNLL, with its columns counted from 0.

    Raises JobError when it is not, or lacks one of the columns.
    """
    seen = look(file, token_column, tag_column)
    if seen is None:
        raise JobError(f"{file.path}: holds no sentences; leave it out, or mend what wrote it")
    layout, where = seen.layout, f"{file.path}:{seen.number}"
    if files.is_json_lines(seen.line):
        raise JobError(f"{where}: looks like JSON lines, not CoNLL; set corpus.format to jsonl")
    if layout.columns < 2:
        raise JobError(
            f"{where}: has one column where CoNLL has a word and its tag; is this plain text?"
        )
    if seen.even <= 0.5:
        raise JobError(
            f"{file.path}: is not CoNLL: the number of columns changes from line to line; is this "
            "plain text?"
        )
    for key in ("token_column", "tag_column"):
        column = getattr(layout, key)
        if not -layout.columns <= column < layout.columns:
            raise JobError(
                f"{where}: has {layout.columns} columns, so none is number {column} (from 0); "
                f"set corpus.{key}"
            )
    return replace(
        layout,
        token_column=layout.token_column % layout.columns,
        tag_column=layout.tag_column % layout.columns,
    )


def sentences(
    path: str, token_column: int = 0, tag_column: int | None = None
) -> Iterator[Sentence]:
    """The sentences of a CoNLL file, with their tags as they stand there.

    Without a `tag_column` it is the last one in which most lines have a tag. Raises JobError for
    whatever is not right.
    """
    file = File(path, path)
    layout = layout_of(file, token_column, tag_column)
    for lines in _lines(file, Position(), None):
        found = parse(file, layout, lines)
        for word in sorted(found.problems):
            raise JobError(found.problems[word])
        tokens, tagged = found.tokens.to_pylist(), found.tags.to_pylist()
        for begin, end in zip(found.bounds[:-1].tolist(), found.bounds[1:].tolist(), strict=True):
            yield Sentence(tokens[begin:end], tagged[begin:end])


def parse(file: File, layout: Layout, lines: Lines) -> Sentences:
    """The sentences of lines that begin and end between two."""
    if layout.separator == "tab":
        fields = pc.split_pattern(lines.text, "\t")
    else:
        fields = pc.ascii_split_whitespace(pc.ascii_trim_whitespace(lines.text))
    bounds, values = arrays.flat(fields)
    counts = np.diff(bounds)
    at = np.flatnonzero(~_gaps(layout, lines, fields))
    last = counts[at] - 1
    tokens = values.take(pa.array(bounds[at] + np.minimum(layout.token_column, last)))
    tagged = values.take(pa.array(bounds[at] + np.minimum(layout.tag_column, last)))
    number = lines.before + at + 1
    wrong_count = counts[at] != layout.columns

    problems = {
        int(np.searchsorted(at, line)): what for line, what in lines.problems.items() if line in at
    }

    def check(wrong: Ints | pa.BooleanArray, say: Callable[[int], str]) -> None:
        for word in np.flatnonzero(wrong).tolist():
            problems.setdefault(word, f"{file.path}:{number[word]}: {say(word)}")

    check(
        wrong_count,
        lambda word: (
            f"has {_columns(counts[at[word]])} where the file has {layout.columns}; mend the line"
        ),
    )
    if layout.prefix:
        prefixed = pc.starts_with(tokens, layout.prefix)
        check(
            pc.invert(prefixed),
            lambda word: (
                f"{tokens[word].as_py()!r} lacks the prefix {layout.prefix!r} of the words "
                "before it; give it to every word, or to none"
            ),
        )
        bare = pc.utf8_slice_codeunits(tokens, len(layout.prefix))
        tokens = pc.if_else(prefixed, bare, tokens)
    check(
        pc.match_substring_regex(tokens, r"\s|^$"),
        lambda word: (
            f"the word {tokens[word].as_py()!r} is empty or holds white space; mend the line"
        ),
    )
    begins = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    return Sentences(
        bounds=np.append(begins, len(at)),
        tokens=tokens,
        tags=tagged,
        offset=lines.offset[at[begins]],
        number=number,
        problems=problems,
    )


def _gaps(layout: Layout, lines: Lines, fields: pa.ListArray) -> Ints:
    """Lines (bool) that hold no word: blank ones, `-DOCSTART-` and comments."""
    trimmed = pc.ascii_trim_whitespace(lines.text)
    gaps: Ints = pc.binary_length(trimmed).to_numpy() == 0
    gaps |= pc.starts_with(lines.text, _DOCSTART).to_numpy(zero_copy_only=False)
    for line in np.flatnonzero(pc.starts_with(lines.text, "#")).tolist():
        if line == 0 or gaps[line - 1]:
            row = fields[line].as_py()
            is_word = len(row) == layout.columns and _is_tag(row[layout.tag_column])
            gaps[line] = not is_word
    return gaps


def _lines(file: File, begin: Position, end: int | None) -> Iterator[Lines]:
    return files.lines(file, begin.offset, begin.line, end, whole=_after_last_sentence)


def _after_last_sentence(data: bytes) -> int:
    for tail in (max(0, len(data) - files.HEAD), 0):
        matches = list(_BLANK_LINE.finditer(data, tail))
        if matches:
            return matches[-1].end()
    return 0


def _split(line: str, separator: Literal["tab", "space"]) -> Sequence[str]:
    if separator == "tab":
        return line.split("\t")
    return [field.decode() for field in line.encode().split()]  # at ASCII white space alone


def _is_tag(text: str) -> bool:
    """Whether a cell looks like a tag of some scheme: a wrong tag tells CoNLL from text as well."""
    return text == "O" or (len(text) > 2 and text[0].isupper() and text[1] == "-")


def _columns(count: int) -> str:
    return "one column" if count == 1 else f"{count} columns"
