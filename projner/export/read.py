"""Annotations that people corrected, read back: JSON lines, and Label Studio's JSON export."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from projner.errors import JobError
from projner.tags import Span, to_spans

FORMATS = ("label-studio", "jsonl")


class Region(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text carry `label`."""

    start: int
    end: int
    label: str
    text: str | None
    """What stands there, where the file says so."""


@dataclass(frozen=True)
class Annotated:
    """A sentence as a file has it. Whether it fits its run is not known yet."""

    where: str
    """The file and the place in it."""
    id: int
    text: str | None
    tokens: list[str] | None
    entities: Sequence[Span | Region]


@dataclass(frozen=True)
class Read:
    """A whole file."""

    sentences: list[Annotated]
    untouched: int
    """Tasks that nobody annotated."""


def read(path: str, form: str) -> Read:
    """Read a file in one of `FORMATS`.

    Raises JobError for the first thing that is wrong, with its place.
    """
    if form not in FORMATS:
        raise JobError(f"unknown format {form!r}; choose one of {', '.join(FORMATS)}")
    try:
        content = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}; give another file") from None
    found = _jsonl(path, content) if form == "jsonl" else _label_studio(path, content)
    if not found.sentences:
        what = "no task is annotated" if found.untouched else "holds no sentence"
        raise JobError(f"{path}: {what}; there is nothing to import")
    _check_once(path, found.sentences)
    return found


def _jsonl(path: str, content: str) -> Read:
    """A sentence a line, as `projner.export.text.jsonl` writes them; some keys may be left out."""
    found = []
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        row = _json(where, line)
        if not isinstance(row, dict):
            raise JobError(f"{where}: is no JSON object; write one sentence a line")
        tokens = row.get("tokens")
        if tokens is not None and not _texts(tokens):
            raise JobError(f"{where}: `tokens` must be a list of texts")
        entities = _of_line(where, row)
        found.append(Annotated(where, _id(where, row), row.get("text"), tokens, entities))
    return Read(found, 0)


def _of_line(where: str, row: Mapping[str, Any]) -> Sequence[Span | Region]:
    entities, tags = row.get("entities"), row.get("ner_tags")
    spans = None
    if tags is not None:
        tokens = row.get("tokens")
        if not _texts(tags) or tokens is None or len(tags) != len(tokens):
            raise JobError(f"{where}: `ner_tags` must be a list of one tag for each of `tokens`")
        try:
            spans = to_spans(tags)
        except ValueError as error:
            raise JobError(f"{where}: `ner_tags`: {error}; mend them") from None
    if entities is None:
        if spans is None:
            raise JobError(f"{where}: has neither `entities` nor `ner_tags`")
        return [Span(start, end, _label(where, label)) for start, end, label in spans]
    if not isinstance(entities, list):
        raise JobError(f"{where}: `entities` must be a list")
    found = [_entity(where, each) for each in entities]
    differ = spans is not None and {*found} != {*spans}
    if differ and all(isinstance(each, Span) for each in found):
        raise JobError(
            f"{where}: `entities` and `ner_tags` say different things; leave the outdated one out"
        )
    return found


def _entity(where: str, entity: Any) -> Span | Region:
    if not isinstance(entity, dict):
        raise JobError(f"{where}: an entity must be an object with `start`, `end` and `label`")
    label = _label(where, entity.get("label"))
    for names, make in (
        (("start", "end"), lambda start, end: Span(start, end, label)),
        (("start_char", "end_char"), lambda start, end: Region(start, end, label, None)),
    ):
        bounds = [entity.get(name) for name in names]
        if all(_whole(bound) for bound in bounds):
            return make(*bounds)
    raise JobError(f"{where}: an entity {label} lacks whole numbers `start` and `end`")


def _label_studio(path: str, content: str) -> Read:
    """Tasks as Label Studio exports them (JSON, not JSON-MIN), those that somebody annotated."""
    tasks = _json(path, content)
    if not isinstance(tasks, list):
        raise JobError(f"{path}: is no list of tasks; export from Label Studio as JSON")
    found = []
    for number, task in enumerate(tasks, 1):
        where = f"{path}: task {number}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise JobError(
                f"{where}: has no `data`; export from Label Studio as JSON, not JSON-MIN"
            )
        annotation = _annotation(task.get("annotations") or ())
        if annotation is None:
            continue
        results = annotation.get("result") or ()
        regions = [_region(where, each) for each in results if each.get("type") == "labels"]
        found.append(Annotated(where, _id(where, data), data.get("text"), None, regions))
    return Read(found, len(tasks) - len(found))


def _annotation(annotations: Iterable[Any]) -> Mapping[str, Any] | None:
    """The one that counts: marked as ground truth, else the one that was touched last."""
    done = [
        each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")
    ]
    return max(
        done,
        key=lambda each: (
            bool(each.get("ground_truth")),
            str(each.get("updated_at") or each.get("created_at") or ""),
        ),
        default=None,
    )


def _region(where: str, result: Mapping[str, Any]) -> Region:
    value = result.get("value")
    if not isinstance(value, dict) or not (_whole(value.get("start")) and _whole(value.get("end"))):
        raise JobError(f"{where}: a label lacks whole numbers `start` and `end`")
    labels = value.get("labels")
    if not isinstance(labels, list) or len(labels) != 1:
        raise JobError(f"{where}: a region needs one label, and has {labels!r}")
    return Region(value["start"], value["end"], _label(where, labels[0]), value.get("text"))


def _check_once(path: str, sentences: Iterable[Annotated]) -> None:
    first: dict[int, Annotated] = {}
    for each in sentences:
        before = first.setdefault(each.id, each)
        if before is not each:
            place = before.where.removeprefix(path).lstrip(": ")
            raise JobError(f"{each.where}: id {each.id} was at {place} already; leave one of them")


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{where}:{error.lineno}" if "\n" in text else where
        raise JobError(f"{place}: no JSON: {error.msg} at column {error.colno}") from None


def _id(where: str, row: Mapping[str, Any]) -> int:
    value = row.get("id")
    if _whole(value):
        return int(value)  # type: ignore[arg-type]
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    raise JobError(f"{where}: has no `id` such as `projner export` writes")


def _label(where: str, label: Any) -> str:
    if not isinstance(label, str) or not label or label.split() != [label]:
        raise JobError(f"{where}: {label!r} is no class; a class is one word")
    return label


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
