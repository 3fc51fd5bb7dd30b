"""What a tagger learns from: labelled sentences of runs and of gold files, a table at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, record
from projner import tags as tag_schemes
from projner.corpus import conll
from projner.errors import JobError
from projner.pipeline import Read
from projner.project import arrays
from projner.record import Status
from projner.runs import run as runs
from projner.runs.run import Run, Snapshot
from projner.train.config import Data, Gold

SCHEMA = pa.schema(
    [
        ("tokens", pa.list_(pa.string())),
        ("tags", pa.list_(pa.string())),
        ("weights", pa.list_(pa.float32())),
        ("probs", pa.list_(pa.list_(pa.float16()))),
    ]
)
"""Words, IOB2 tags, what each word counts (null: 1), and its label probabilities (null: none)."""

GOLD_ROWS = 2000


@dataclass(frozen=True)
class Labelled:
    """All that there is to learn from."""

    parts: list[Read]
    """Tables of `SCHEMA`."""
    classes: tuple[str, ...]
    signature: str
    """Which runs, snapshots and files, and how much of each."""

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


@dataclass(frozen=True)
class _Chosen:
    """Sentences of one shard or file by number or id, and how many of each have no entity."""

    source: str
    gold: bool
    place: Callable[[np.ndarray], Read]
    keys: np.ndarray
    negative: np.ndarray


def labelled(data: Data, seed: int = 0, rows: int = GOLD_ROWS) -> Labelled:
    """The sentences that `data` names, in parts of about `rows`.

    Reads the labels, not the words, of all of them. Raises JobError for what is not there, for a run
    without labelled rows, and for one of another schema version.
    """
    chosen: list[_Chosen] = []
    classes: set[str] = set()
    for location in data.runs:
        found, snapshot = newest(location)
        classes.update(label for label in snapshot.entities if label not in data.ignore)
        chosen += _of_run(found, snapshot, data)
    for gold in data.gold:
        sentences = read_gold(gold, data.ignore)
        classes.update(tag[2:] for _, tags in sentences for tag in tags if tag != "O")
        chosen.append(_of_gold(gold, sentences))
    kept = _drawn(chosen, data, seed)
    parts = [
        each.place(each.keys[part])
        for each, rows_kept in zip(chosen, kept, strict=True)
        for part in np.array_split(rows_kept, max(1, -(-len(rows_kept) // rows)))
        if len(part)
    ]
    if not parts:
        names = ", ".join([*data.runs, *(gold.path for gold in data.gold)])
        raise JobError(
            f"{names}: no labelled sentence to learn from; loosen the limits under `data`"
        )
    counts: dict[str, int] = {}
    for each, rows_kept in zip(chosen, kept, strict=True):
        counts[each.source] = counts.get(each.source, 0) + len(rows_kept)
    signature = "|".join(f"{source}:{count}" for source, count in counts.items())
    return Labelled(parts, tuple(sorted(classes)), signature)


def read_gold(gold: Gold, ignore: Collection[str] = ()) -> list[tuple[list[str], list[str]]]:
    """Words and IOB2 tags of a gold file's sentences. Raises JobError."""
    found = []
    for number, sentence in enumerate(
        conll.sentences(gold.path, gold.token_column, gold.tag_column), 1
    ):
        try:
            tags = tag_schemes.repair(sentence.tags)
        except ValueError as error:
            raise JobError(f"{gold.path}: sentence {number}: {error}; mend it") from None
        found.append((sentence.tokens, ["O" if tag[2:] in ignore else tag for tag in tags]))
    if not found:
        raise JobError(f"{gold.path}: holds no sentences; give a CoNLL file with labels")
    return found


def newest(location: str) -> tuple[Run, Snapshot]:
    """The run that a location names, and its newest snapshot.

    Raises JobError where there is none, or none with rows that can be learnt from.
    """
    run = runs.find(location)
    snapshot = run.latest()
    if snapshot is None:
        raise JobError(f"{location}: the run has no snapshot yet; run its job to the end")
    schema = f"schema:{record.SCHEMA_VERSION}|"
    if not f"{snapshot.signature}|".startswith(schema):
        theirs = snapshot.signature.partition("|")[0]
        raise JobError(
            f"{location}: was made with {theirs}, this projner has {schema[:-1]}; run its job again"
        )
    if not snapshot.statuses.get(Status.OK.value):
        raise JobError(f"{location}: no row of its newest snapshot is ok; see `projner report`")
    return run, snapshot


def _of_run(run: Run, snapshot: Snapshot, data: Data) -> Iterator[_Chosen]:
    entities = f"{data.side}_entities"
    for name, ids in run.shards(snapshot):
        table = run.read_shard(name, ids, ["status", "target_lang", entities])
        fitting = pc.equal(table["status"], Status.OK.value)
        if data.languages:
            known = pa.array(data.languages)
            fitting = pc.and_(fitting, pc.is_in(table["target_lang"], value_set=known))
        table = table.filter(fitting)
        spans = _spans(table[entities], data.ignore)
        if data.min_confidence is not None:
            doubtful = np.unique(spans.row[spans.confidence < data.min_confidence])
            keep = ~np.isin(np.arange(table.num_rows), doubtful)
        else:
            keep = np.ones(table.num_rows, bool)
        negative = np.bincount(spans.row, minlength=table.num_rows) == 0
        keys = table["id"].to_numpy()[keep]
        place = partial(_part_of_run, run, name, data.side, data.ignore, data.weigh)
        source = f"{run.fingerprint}@{snapshot.number}"
        yield _Chosen(source, False, place, keys, negative[keep])


def _part_of_run(
    run: Run, name: str, side: str, ignore: Collection[str], weigh: bool, ids: np.ndarray
) -> Read:
    return Read(partial(_read_run, run, name, side, ignore, weigh, ids), len(ids))


def _read_run(
    run: Run, name: str, side: str, ignore: Collection[str], weigh: bool, ids: np.ndarray
) -> pa.Table:
    table = run.read_shard(name, ids, [f"{side}_tokens", f"{side}_entities"])
    tokens = table[f"{side}_tokens"].combine_chunks()
    counts = np.asarray(pc.list_value_length(tokens), np.int64)
    spans = _spans(table[f"{side}_entities"], ignore)
    offsets = np.searchsorted(spans.row, np.arange(table.num_rows + 1))
    tags = arrays.iob2(counts, offsets, spans.start, spans.end, spans.label)
    weights: pa.Array = pa.nulls(table.num_rows, SCHEMA.field("weights").type)
    if weigh:
        flat = np.ones(int(counts.sum()), np.float32)
        first = (np.cumsum(counts) - counts)[spans.row]
        for start, end, confidence in zip(
            first + spans.start, first + spans.end, spans.confidence, strict=True
        ):
            flat[start:end] = confidence
        weights = pa.ListArray.from_arrays(tokens.offsets.cast(pa.int32()), pa.array(flat))
    probs = pa.nulls(table.num_rows, SCHEMA.field("probs").type)
    return pa.Table.from_arrays([tokens, tags, weights, probs], schema=SCHEMA)


@dataclass(frozen=True)
class _Spans:
    """Entities of all rows, in order."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    label: pa.Array
    confidence: np.ndarray


def _spans(column: pa.ChunkedArray, ignore: Collection[str]) -> _Spans:
    names = [field.name for field in column.type.value_type]
    known = columns.lists(column, ["start", "end", "score"])
    items = pc.list_flatten(column.combine_chunks())
    confidence = known.fields["score"]
    if "confidence" in names:
        given = pc.struct_field(items, "confidence").to_numpy(zero_copy_only=False)
        confidence = np.where(np.isnan(given), confidence, given)
    label = pc.struct_field(items, "label")
    row = np.repeat(np.arange(len(column)), np.diff(known.offsets))
    kept = ~np.asarray(pc.is_in(label, value_set=pa.array([*ignore], pa.string())))
    start, end = known.fields["start"][kept], known.fields["end"][kept]
    return _Spans(row[kept], start, end, label.filter(pa.array(kept)), confidence[kept])


def _of_gold(gold: Gold, sentences: list[tuple[list[str], list[str]]]) -> _Chosen:
    negative = np.array([set(tags) == {"O"} for _, tags in sentences])
    digest = zlib.crc32(repr(sentences).encode())
    return _Chosen(
        f"{gold.path}#{digest:08x}",
        True,
        partial(_part_of_gold, sentences),
        np.arange(len(sentences)),
        negative,
    )


def _part_of_gold(sentences: list[tuple[list[str], list[str]]], keys: np.ndarray) -> Read:
    rows = [
        {"tokens": tokens, "tags": tags, "weights": None, "probs": None}
        for tokens, tags in (sentences[key] for key in keys)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return Read(lambda: table, len(rows))


def _drawn(chosen: list[_Chosen], data: Data, seed: int) -> list[np.ndarray]:
    """Of each, the places of the sentences that are kept, in order."""
    sizes = [len(each.keys) for each in chosen]
    gold = np.repeat([each.gold for each in chosen], sizes)
    kept = shared(gold, data.gold_share, seed) & shared(~gold, data.runs_share, seed)
    chance = np.random.default_rng(seed)
    negative = np.concatenate([np.empty(0, bool), *(each.negative for each in chosen)])
    if data.negatives is not None:
        without = np.flatnonzero(kept & negative)
        most = int(data.negatives * (kept & ~negative).sum())
        kept[chance.permutation(without)[most:]] = False
    if data.limit is not None:
        kept[chance.permutation(np.flatnonzero(kept))[data.limit :]] = False
    parts = np.split(kept, np.cumsum(sizes)[:-1]) if sizes else []
    return [np.flatnonzero(part) for part in parts]


def shared(among: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Bool (n,): false where a row `among` (bool) is not in a share of these, of at least one.

    With the same seed, a smaller share is a part of a larger one.
    """
    kept = np.ones(len(among), bool)
    rows = np.flatnonzero(among)
    if share < 1 and len(rows):
        drawn = np.random.default_rng([seed, 1]).permutation(rows)
        kept[drawn[max(1, round(share * len(rows))) :]] = False
    return kept
