"""`projner import`: what people corrected becomes the labels of a run's next snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from projner import record
from projner.errors import JobError
from projner.evaluate import f1
from projner.evaluate.f1 import Evaluation
from projner.export.read import Annotated, Region, read
from projner.export.sentences import offsets
from projner.runs import corrections, lease
from projner.runs import run as runs
from projner.runs.corrections import Correction
from projner.runs.run import Run, Snapshot
from projner.tags import Span, to_tags

MOST_NAMED = 5
"""Places that a message names."""
_COLUMNS = ("target_text", "target_tokens", "target_entities", "ner_tags", "status_detail")


@dataclass(frozen=True)
class Imported:
    """What a file changed."""

    run: str
    before: int
    snapshot: int
    """The number of the newest snapshot; `before` where nothing changed."""
    rows: int
    """Sentences of the file."""
    relabelled: int
    """Of them: whose labels are others than before, ..."""
    confirmed: int
    """... whose labels were projected right, ..."""
    known: int
    """... and whose corrections the run had already."""
    untouched: int
    """Tasks of the file that nobody annotated: they stay as they are."""
    widened: int
    """Regions that did not end with words, and were extended to."""
    projected: Evaluation | None
    """The labels before, of the first two kinds, against what people say."""

    def as_json(self) -> dict[str, Any]:
        figures = self.projected.as_json() if self.projected else None
        return {**vars(self), "projected": figures}


class _Row(NamedTuple):
    """A row as it is."""

    text: str
    tokens: list[str]
    spans: tuple[Span, ...]
    tags: list[str]
    corrected: bool


def import_file(location: str, path: str, form: str) -> Imported:
    """Publish a snapshot of the run with the labels of a file, each of whose sentences counts as gold.

    Raises JobError, and writes nothing, for whatever is wrong with the file or does not fit the run.
    """
    found = read(path, form)
    run = runs.find(location)
    if run.latest() is None:
        raise JobError(f"{location}: the run has no snapshot yet; run its job to the end")
    with lease.hold(run.folder) as held:
        snapshot = run.latest()
        assert snapshot is not None
        rows = _rows(location, path, run, snapshot, found.sentences)
        widened = 0
        given: dict[int, tuple[Span, ...]] = {}
        for each in found.sentences:
            given[each.id], more = _fitted(each, rows[each.id])
            widened += more
        todo = [id_ for id_, spans in given.items() if not _is(rows[id_], spans)]
        after = snapshot
        if todo:
            corrected = [Correction(id_, given[id_]) for id_ in todo]
            after = corrections.publish(run, snapshot, corrected, Path(path).name, held)
    fresh = {id_: rows[id_] for id_ in given if not rows[id_].corrected}
    relabelled = sum(rows[id_].spans != given[id_] for id_ in todo)
    return Imported(
        run=str(run.folder),
        before=snapshot.number,
        snapshot=after.number,
        rows=len(given),
        relabelled=relabelled,
        confirmed=len(todo) - relabelled,
        known=len(given) - len(todo),
        untouched=found.untouched,
        widened=widened,
        projected=_judged(path, run, snapshot, fresh, given) if fresh else None,
    )


def _is(row: _Row, spans: tuple[Span, ...]) -> bool:
    return row.corrected and row.spans == spans


def _rows(
    location: str, path: str, run: Run, snapshot: Snapshot, sentences: Sequence[Annotated]
) -> dict[int, _Row]:
    """The rows of the run that a file is about, by id."""
    ids = np.array([each.id for each in sentences if abs(each.id) < 2**63], np.int64)
    there = ids[np.isin(ids, run.ids(snapshot))]
    known = {*there.tolist()}
    unknown = [each.where for each in sentences if each.id not in known]
    if unknown:
        places = [where.removeprefix(path).lstrip(": ") for where in unknown]
        more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
        raise JobError(
            f"{path}: ids that no sentence of snapshot {snapshot.number} has, at "
            f"{', '.join(places[:MOST_NAMED])}{more}; take them out: these sentences have left the "
            "corpus, changed, or belong to another run"
        )
    table = run.read(snapshot, _COLUMNS, there)
    if not {"target_entities", "ner_tags"} <= {*table.column_names}:
        raise JobError(f"{location}: holds no labels yet; give the job's output folder")
    corrected = record.is_corrected(table["status_detail"]).tolist()
    return {
        row["id"]: _row(row, done) for row, done in zip(table.to_pylist(), corrected, strict=True)
    }


def _row(row: Mapping[str, Any], corrected: bool) -> _Row:
    tokens = row["target_tokens"] or []
    text = row.get("target_text")
    spans = (
        Span(each["start"], each["end"], each["label"]) for each in row["target_entities"] or ()
    )
    return _Row(
        text=" ".join(tokens) if text is None else text,
        tokens=tokens,
        spans=tuple(sorted(spans)),
        tags=row["ner_tags"] or ["O"] * len(tokens),
        corrected=corrected,
    )


def _fitted(sentence: Annotated, row: _Row) -> tuple[tuple[Span, ...], int]:
    """The entities of a sentence as words of its row, and how many regions were widened to words."""
    if not row.tokens:
        raise JobError(
            f"{sentence.where}: the run has no words of sentence {sentence.id}; take it out"
        )
    for given, own in ((sentence.tokens, row.tokens), (sentence.text, row.text)):
        if given is not None and given != own:
            raise JobError(
                f"{sentence.where}: the words are not those of the run; labels alone may change"
            )
    widened = 0
    spans = []
    for entity in sentence.entities:
        if isinstance(entity, Region):
            entity, wider = _words(sentence.where, entity, row)
            widened += wider
        if not 0 <= entity.start < entity.end <= len(row.tokens):
            raise JobError(
                f"{sentence.where}: {entity.label} from word {entity.start} to {entity.end} is not "
                f"within the sentence's {len(row.tokens)} words"
            )
        spans.append(entity)
    spans.sort()
    for one, other in pairwise(spans):
        if other.start < one.end:
            raise JobError(
                f"{sentence.where}: {one.label} and {other.label} overlap at word {other.start}; a word "
                "has one label"
            )
    return tuple(spans), widened


def _words(where: str, region: Region, row: _Row) -> tuple[Span, bool]:
    """The words that a region touches, and whether it was less than them."""
    start, end = _characters(where, region, row.text)
    places = offsets(row.text, row.tokens)
    touched = [n for n, (first, last) in enumerate(places) if first < end and start < last]
    if not touched:
        raise JobError(f"{where}: {region.label} from character {region.start} on holds no word")
    first, last = touched[0], touched[-1]
    held = row.text[start:end]
    trimmed = start + len(held) - len(held.lstrip()), end - len(held) + len(held.rstrip())
    whole = (places[first][0], places[last][1]) == trimmed
    return Span(first, last + 1, region.label), not whole


def _characters(where: str, region: Region, text: str) -> tuple[int, int]:
    """Where a region begins and ends in a text.

    Some versions of Label Studio count characters beyond the first 65,536 twice, as browsers do, others
    do not. What stands there says which way of counting is meant.
    """
    bounds = region.start, region.end
    if region.text is not None and text[slice(*bounds)] != region.text:
        units = [0]
        for char in text:
            units.append(units[-1] + (2 if ord(char) > 0xFFFF else 1))
        if set(bounds) <= set(units):
            counted = units.index(region.start), units.index(region.end)
            if text[slice(*counted)] == region.text:
                return counted
    if not 0 <= region.start < region.end <= len(text):
        raise JobError(
            f"{where}: {region.label} from character {region.start} to {region.end} is not within the "
            f"text's {len(text)} characters"
        )
    if region.text is not None and text[slice(*bounds)] != region.text:
        raise JobError(f"{where}: {region.text!r} does not stand at character {region.start}")
    return bounds


def _judged(
    path: str,
    run: Run,
    snapshot: Snapshot,
    rows: Mapping[int, _Row],
    given: Mapping[int, Iterable[Span]],
) -> Evaluation:
    ids = [*rows]
    tokens = [rows[id_].tokens for id_ in ids]
    gold = [to_tags(given[id_], len(rows[id_].tokens)) for id_ in ids]
    name = f"{run.fingerprint}@{snapshot.number}[{snapshot.signature}]"
    return f1.evaluate(
        f1.Labelled(Path(path).name, tokens, gold),
        f1.Labelled(name, tokens, [rows[id_].tags for id_ in ids]),
    )
