"""Records: corpora whose fields have names, as JSON lines, Parquet and `datasets` have them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import config, tags
from projner.corpus import arrays, files, reader
from projner.corpus.files import File
from projner.corpus.links import Notation
from projner.corpus.reader import Position
from projner.errors import JobError

Convert = Callable[[pa.Array], pa.Array]

_TEXTS = ("source_text", "target_text")
_TOKENS = ("source_tokens", "target_tokens")
_IGNORED = {"target_entities", "target_tags"}
_KNOWN = ("id", *_TEXTS, *_TOKENS, "source_entities", "source_tags", "links", *_IGNORED)
_OF_DOCUMENTS = ("doc_id", *_TEXTS)


@dataclass(frozen=True)
class Fields:
    """Which fields hold what, and how to read them; turns raw fields into columns of the record."""

    names: tuple[tuple[str, str], ...]
    """Record column (or `source_tags`) and the field that holds it; a dot leads into a field."""
    notation: Notation
    scheme: str = "IOBES"
    ignore: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    """Names of the tags where the field has numbers."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple("source_entities" if name == "source_tags" else name for name, _ in self.names)

    def table(self, raw: Callable[[str], pa.Array | list[Any]]) -> tuple[pa.Table, dict[int, str]]:
        """The record columns of some rows, and what is wrong with rows; `raw` gives a field."""
        columns: dict[str, pa.Array] = {}
        problems: dict[int, str] = {}
        for (name, field), (_, convert) in zip(self.names, self.converts(), strict=True):
            columns[name], wrong = _each(convert, raw(field))
            for row, what in wrong.items():
                problems.setdefault(row, f"field `{field}` {what}")
        if "source_tags" in columns:
            tagged = columns.pop("source_tags")
            columns["source_entities"], wrong = self._entities_of_tags(tagged, columns)
            problems = wrong | problems
        return pa.table(columns), problems

    def converts(self) -> list[tuple[str, Convert]]:
        """Each field, and the function that makes a record column of it (or raises ValueError)."""
        known: dict[str, Convert] = {
            "id": _whole_numbers,
            "doc_id": _names,
            **dict.fromkeys(_TEXTS, _text),
            **dict.fromkeys(_TOKENS, _words),
            "source_tags": self._tags,
            "source_entities": self._entities,
            "links": self._links,
        }
        return [(field, known[name]) for name, field in self.names]

    def _tags(self, raw: pa.Array) -> pa.ListArray:
        if _is_list_of(raw.type, pa.types.is_integer):
            if not self.classes:
                raise ValueError("has numbers whose names are not known; write the tags as text")
            bounds, numbers = arrays.flat(raw)
            if len(numbers) and pc.any(pc.greater_equal(numbers, len(self.classes))).as_py():
                raise ValueError(f"has a number that is none of its {len(self.classes)} tags")
            return arrays.lists(bounds, pa.array(self.classes).take(numbers), raw)
        return _words(raw)

    def _entities_of_tags(
        self, tagged: pa.ListArray, columns: dict[str, pa.Array]
    ) -> tuple[pa.ListArray, dict[int, str]]:
        tokens = columns.get("source_tokens")
        if tokens is None:
            tokens = arrays.words_at_white_space(columns["source_text"])
        bounds, flat = arrays.flat(tagged)
        scheme = tags.SCHEMES[self.scheme]
        entities, wrong = arrays.entities_of_tags(bounds, flat, scheme, self.ignore, tagged)
        problems: dict[int, str] = {}
        for at, what in wrong.items():
            row = int(np.searchsorted(bounds, at, side="right")) - 1
            problems.setdefault(row, f"{what}; mend it, or set corpus.scheme")
        words, counts = arrays.counts(tokens), np.diff(bounds)
        uneven = (words != counts) & tagged.is_valid().to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(uneven).tolist():
            problems[row] = f"has {words[row]} words and {counts[row]} tags; give each word one tag"
        return entities, problems

    def _entities(self, raw: pa.Array) -> pa.ListArray:
        bounds, flat, given = _list_of_structs(raw, ("start", "end", "label"))
        if pa.types.is_null(flat.type):
            return arrays.entities(bounds, [], [], [], given=given)
        start, end = (_whole_numbers(flat.field(name)) for name in ("start", "end"))
        label = _text(flat.field("label"))
        if start.null_count or end.null_count or label.null_count:
            raise ValueError("has an entity without start, end or label; mend it")
        column = arrays.entities(bounds, start, end, label, _scores(flat), given)
        return arrays.keep(column, pc.invert(pc.is_in(label, pa.array(self.ignore, pa.string()))))

    def _links(self, raw: pa.Array) -> pa.ListArray:
        if _is_text(raw.type):
            links, problems = self.notation.column(_text(raw))
            for what in problems.values():
                raise ValueError(what)
            return links
        if _is_list_of(raw.type, pa.types.is_struct):
            bounds, flat, given = _list_of_structs(raw, ("source", "target"))
            pairs = [_whole_numbers(flat.field(name)) for name in ("source", "target")]
            source, target = (pc.subtract(numbers, self.notation.base) for numbers in pairs)
            score = _scores(flat)
        else:
            bounds, flat, given = _list(raw, "pairs of word numbers")
            lengths, numbers, _ = _list(flat, "pairs of word numbers")
            if (np.diff(lengths) != 2).any():
                raise ValueError("has a link that is no pair; write [source, target]")
            numbers = _whole_numbers(numbers)
            left, right = (numbers.take(pa.array(lengths[:-1] + side)) for side in (0, 1))
            source, target = self.notation.pairs(left, right)
            score = None
        if source.null_count or target.null_count:
            raise ValueError("has a link that lacks a word number; mend it")
        return arrays.links(bounds, source, target, score, given)


@dataclass(frozen=True)
class JsonLines:
    """A file with a JSON object a line; blank lines are skipped."""

    file: File
    fields: Fields
    kind = "JSON lines"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.fields.columns

    def blocks(self, begin: Position, end: int | None) -> Iterator[tuple[pa.Table, Position]]:
        for lines in files.lines(self.file, begin.offset, begin.line, end):
            texts = lines.text.to_pylist()
            at = np.array([line for line, text in enumerate(texts) if text.strip()], np.int64)
            number = lines.before + at + 1
            objects, problems = _objects([texts[line] for line in at])
            table, wrong = self.fields.table(partial(_values, objects))
            located = {
                row: f"{self.file.path}:{number[row]}: {what}"
                for row, what in (wrong | problems).items()
            }
            located |= {
                row: lines.problems[line] for row, line in enumerate(at) if line in lines.problems
            }
            rows = reader.place(table, lines.offset[at], number, located)
            yield rows, Position(lines.end, lines.before + len(texts))


def json_lines(file: File, fields: Callable[[Mapping[str, bool]], Fields]) -> JsonLines:
    """The reader of a file of JSON lines; `fields` chooses among those of its first objects.

    Raises JobError when the file is empty or something else.
    """
    files.head(file)
    first = next(files.lines(file, 0, 0)).text.slice(0, 1000).to_pylist()
    first = [line for line in first if line.strip()]
    if first and not files.is_json_lines(first[0]):
        raise JobError(
            f"{file.path}: does not begin with a JSON object; give a file with one in each line, "
            "or mend corpus.format"
        )
    objects, _ = _objects(first)
    return JsonLines(file, fields(_names_in(objects)))


def _names_in(objects: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """The fields of some objects, with a dot before those of inner ones, and whether each holds
    whole numbers alone."""
    names: dict[str, bool] = {}
    for item in objects:
        inner = {
            f"{name}.{key}": held
            for name, value in item.items()
            if isinstance(value, dict)
            for key, held in value.items()
        }
        for name, value in (item | inner).items():
            names[name] = names.get(name, True) and type(value) is int
    return names


def choose(
    corpus: config.Corpus,
    where: str,
    names: Mapping[str, bool],
    classes: Callable[[str], Sequence[str]] = lambda field: (),
) -> Fields:
    """The fields to read, out of the `names` there are (with whether they hold whole numbers).

    A field goes where `corpus.columns` says, else where its own name does; an `id` that nobody
    asked for is not taken unless it is a whole number. `classes` gives the names of a field's
    numbers. Raises JobError where what is asked for or needed is not there.
    """
    if corpus.documents:
        return _choose_of_documents(corpus, where, names)
    for column, name in corpus.columns.items():
        if column not in _KNOWN:
            raise JobError(f"corpus.columns: there is no `{column}`{_nearest(column, _KNOWN)}")
        require(name, where, names, f"corpus.columns.{column}")
    wanted = {name: name for name in _KNOWN if name in names} | corpus.columns
    if "id" in wanted and "id" not in corpus.columns and not names["id"]:
        del wanted["id"]
    if "source_entities" in wanted:
        wanted.pop("source_tags", None)
    if not any(name in wanted for name in (*_TEXTS, *_TOKENS)):
        raise JobError(
            f"{where}: none of its fields ({', '.join(names)}) is source_text, target_text, "
            "source_tokens or target_tokens; name them under corpus.columns"
        )
    for name in ("source_entities", "source_tags"):
        if name in wanted and not {"source_text", "source_tokens"} & set(wanted):
            raise JobError(
                f"{where}: has {name} without the words; name them under corpus.columns as "
                "source_tokens or source_text"
            )
    if "links" in wanted and not all(
        {f"{side}_text", f"{side}_tokens"} & set(wanted) for side in ("source", "target")
    ):
        raise JobError(f"{where}: has links without both sides; name these under corpus.columns")
    return Fields(
        names=tuple((name, wanted[name]) for name in _KNOWN if name in wanted.keys() - _IGNORED),
        notation=Notation(corpus.links_base, corpus.links_direction),
        scheme=corpus.scheme,
        ignore=corpus.ignore,
        classes=tuple(classes(wanted["source_tags"])) if "source_tags" in wanted else (),
    )


def _choose_of_documents(corpus: config.Corpus, where: str, names: Mapping[str, bool]) -> Fields:
    """The text and perhaps the `doc_id` of documents; their other fields are left alone."""
    for column, name in corpus.columns.items():
        if column not in _OF_DOCUMENTS:
            choice = ", ".join(_OF_DOCUMENTS)
            raise JobError(f"corpus.columns: documents have no `{column}`, only {choice}")
        require(name, where, names, f"corpus.columns.{column}")
    texts = [name for name in _TEXTS if name in corpus.columns]
    texts = texts or [name for name in _TEXTS if name in names]
    if len(texts) != 1:
        raise JobError(
            f"{where}: one of its fields ({', '.join(names)}) has to be the text of a document; "
            "name it under corpus.columns as source_text or target_text"
        )
    held = {"doc_id": "doc_id"} if "doc_id" in names else {}
    held |= {texts[0]: texts[0], **corpus.columns}
    chosen = tuple((name, held[name]) for name in _OF_DOCUMENTS if name in held)
    return Fields(chosen, Notation())


def names_of(schema: pa.Schema) -> dict[str, bool]:
    """The fields of a schema, with a dot before inner ones, and whether they hold whole numbers."""
    fields = {field.name: field.type for field in schema}
    for field in schema:
        if pa.types.is_struct(field.type):
            fields |= {f"{field.name}.{inner.name}": inner.type for inner in field.type}
    return {name: pa.types.is_integer(type_) for name, type_ in fields.items()}


def classes_of(schema: pa.Schema, field: str) -> list[str]:
    """The names of a field's numbers, as `datasets` keeps them in a schema's metadata."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(field, {})
    while isinstance(feature, dict) and "names" not in feature:
        feature = feature.get("feature")
    return feature["names"] if feature else []


def from_tables(
    file: File, fields: Fields, tables: Iterator[pa.Table], begin: int, end: int | None
) -> Iterator[tuple[pa.Table, Position]]:
    """What a reader's `blocks` gives, from tables of raw fields whose first row is `begin`."""
    for raw in tables:
        raw = raw.slice(0, None if end is None else end - begin)
        table, problems = fields.table(partial(_column, raw))
        row = np.arange(begin, begin + raw.num_rows)
        located = {at: f"{file.path}:{row[at] + 1}: {what}" for at, what in problems.items()}
        begin += raw.num_rows
        yield reader.place(table, row, row + 1, located), Position(begin, begin)
        if begin == end:
            break


def check_types(file: File, fields: Fields, schema: pa.Schema) -> None:
    """Raise JobError when a field is not of a type that its column can be read from."""
    empty = schema.empty_table()
    for name, convert in fields.converts():
        try:
            convert(_column(empty, name))
        except ValueError as error:
            raise JobError(f"{file.path}: field `{name}` {error}") from None


def _column(table: pa.Table, name: str) -> pa.Array:
    if name in table.column_names:
        return _whole(table[name])
    outer, _, inner = name.partition(".")
    return pc.struct_field(_whole(table[outer]), inner)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def require(name: str, where: str, names: Collection[str], key: str) -> None:
    """Raise JobError when a file lacks the field that the job file's `key` names."""
    if name not in names:
        raise JobError(f"{where}: has no field `{name}` (of {key}){_nearest(name, names)}")


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"; did you mean `{close[0]}`?" if close else ""


def _objects(lines: Sequence[str]) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The JSON object of each line; an empty one, and the reason, where there is none."""
    objects: list[dict[str, Any]] = []
    problems: dict[int, str] = {}
    for row, line in enumerate(lines):
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            item, problems[row] = {}, f"is not JSON ({error}); mend the line"
        if not isinstance(item, dict):
            item, problems[row] = {}, "is no JSON object; write {...} in each line"
        objects.append(item)
    return objects, problems


def _values(objects: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return [_get(item, name) for item in objects]


def _get(item: dict[str, Any], name: str) -> Any:
    if name in item or "." not in name:
        return item.get(name)
    outer, _, inner = name.partition(".")
    held = item.get(outer)
    return held.get(inner) if isinstance(held, dict) else None


def _each(convert: Convert, raw: pa.Array | list[Any]) -> tuple[pa.Array, dict[int, str]]:
    """The converted rows. If that fails: those that can be, null elsewhere, and the reasons."""
    whole, _ = _try(convert, raw)
    if whole is not None:
        return whole, {}
    parts: list[pa.Array] = []
    problems: dict[int, str] = {}
    for row in range(len(raw)):
        part, reason = _try(convert, raw[row : row + 1])
        if part is None:
            part, problems[row] = convert(pa.nulls(1)), reason
        parts.append(part)
    return pa.concat_arrays(parts), problems


def _try(convert: Convert, raw: pa.Array | list[Any]) -> tuple[pa.Array | None, str]:
    try:
        # Without a type: with one, pyarrow would quietly cut fractions off and strings up.
        return convert(pa.array(raw) if isinstance(raw, list) else raw), ""
    except pa.ArrowException as error:
        return None, f"cannot be read ({str(error).partition(chr(10))[0]}); mend it"
    except (UnicodeEncodeError, OverflowError) as error:
        return None, f"cannot be read ({error}); mend it"
    except ValueError as error:
        return None, str(error)


def _text(raw: pa.Array) -> pa.StringArray:
    if not _is_text(raw.type):
        raise ValueError(f"is {raw.type}, not text; mend it, or name another under corpus.columns")
    text = raw.cast(pa.string())
    if pc.any(pc.match_substring(text, "\0")).as_py():
        raise ValueError("holds NUL, which is not text; take it out")
    return text


def _words(raw: pa.Array) -> pa.ListArray:
    bounds, flat, given = _list(raw, "text")
    flat = _text(flat)
    if flat.null_count:
        raise ValueError("lacks a word; mend the list")
    if pc.any(wrong := pc.match_substring_regex(flat, r"\s|^$")).as_py():
        word = flat.filter(wrong)[0].as_py()
        raise ValueError(f"has the word {word!r}, which is empty or holds white space; mend it")
    return arrays.lists(bounds, flat, given)


def _whole_numbers(raw: pa.Array) -> pa.Int64Array:
    type_ = raw.type
    if not (pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_null(type_)):
        raise ValueError(f"is {type_}, not whole numbers; mend it")
    return raw.cast(pa.int64())


def _names(raw: pa.Array) -> pa.StringArray:
    return raw.cast(pa.string()) if pa.types.is_integer(raw.type) else _text(raw)


def _scores(flat: pa.StructArray) -> pa.FloatArray | None:
    if flat.type.get_field_index("score") < 0:
        return None
    scores = flat.field("score")
    if not (pa.types.is_floating(scores.type) or pa.types.is_integer(scores.type)):
        raise ValueError(f"has scores that are {scores.type}, not numbers; mend them")
    return pc.fill_null(scores.cast(pa.float32()), 1.0)


def _list(raw: pa.Array, of: str) -> tuple[np.ndarray, pa.Array, pa.Array]:
    type_ = raw.type
    if pa.types.is_null(type_):
        raw = raw.cast(pa.list_(pa.null()))
    elif pa.types.is_fixed_size_list(type_) or pa.types.is_large_list(type_):
        raw = raw.cast(pa.list_(type_.value_type))
    elif not pa.types.is_list(type_):
        raise ValueError(f"is {type_}, not a list of {of}; mend it")
    return *arrays.flat(raw), raw


def _list_of_structs(
    raw: pa.Array, names: tuple[str, ...]
) -> tuple[np.ndarray, pa.StructArray, pa.Array]:
    bounds, flat, given = _list(raw, f"{{{', '.join(names)}}}")
    if not pa.types.is_null(flat.type) and (
        not pa.types.is_struct(flat.type)
        or any(flat.type.get_field_index(name) < 0 for name in names)
    ):
        raise ValueError(f"is not a list of {{{', '.join(names)}}}; mend it")
    if len(flat) and flat.null_count:
        raise ValueError("has a null among its values; mend it")
    return bounds, flat, given


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return type_ in (pa.string(), pa.large_string(), pa.string_view(), pa.null())


def _is_list_of(type_: pa.DataType, is_kind: Callable[[pa.DataType], bool]) -> bool:
    is_list = pa.types.is_list(type_) or pa.types.is_large_list(type_)
    return bool(is_list and is_kind(type_.value_type))
