"""What teachers make of unlabelled text: label probabilities that runs have, as those of one teacher.

Each teacher has labelled the text once, in an ordinary job. Probabilities are of words, so a student
may have another size and another tokenizer than its teachers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from projner import checkpoints, columns
from projner import tags as tag_schemes
from projner.errors import JobError
from projner.pipeline import Read
from projner.record import Status
from projner.runs.run import Run, Snapshot
from projner.train import similarity
from projner.train.config import Learned, Teachers
from projner.train.data import GOLD_ROWS, SCHEMA, newest, shared

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

COLUMN = "target_probs"
_IOB2 = {"S": "B", "E": "I"}


@dataclass(frozen=True)
class Teacher:
    """A run with label probabilities."""

    location: str
    run: Run
    snapshot: Snapshot
    tags: tuple[str, ...]
    """Of what its probabilities are, in order."""

    def classes(self, ignore: Collection[str]) -> set[str]:
        """The classes that it tells apart."""
        return {tag[2:] for tag in self.tags} - {"", *ignore}


@dataclass(frozen=True)
class Lesson:
    """What a section of teachers says, ready to be read in parts once the labels are known."""

    section: Teachers
    teachers: tuple[Teacher, ...]
    places: tuple[tuple[tuple[tuple[str, Ints], ...], ...], ...]
    """Of each part, for each teacher, the shards and the ids of its rows in them."""
    ids: tuple[Ints, ...]
    """The rows of each part, in order."""
    texts: tuple[list[list[str]], ...]
    """Sentences in each teacher's language, where weights are learnt from these."""
    classes: tuple[str, ...]
    signature: str

    def parts(self, labels: Sequence[str], ignore: Collection[str], file: Path) -> list[Read]:
        """The sentences, as tables of `data.SCHEMA` with probabilities of `labels`.

        `file`: where `learn` leaves what gives the weights, if they are to be learnt.
        """
        onto = tuple(matrix(teacher.tags, labels, ignore) for teacher in self.teachers)
        runs = tuple(teacher.run for teacher in self.teachers)
        told = _Told(self.section, runs, onto, tuple(labels), file)
        return [
            Read(partial(_read, told, places, ids), len(ids))
            for places, ids in zip(self.places, self.ids, strict=True)
        ]

    def learn(self, file: Path, seed: int) -> None:
        """Learn what gives the weights of a section that has them learnt."""
        weights = self.section.weights
        assert isinstance(weights, Learned)
        run, parts = self.teachers[0].run, [places[0] for places in self.places]
        sample: list[list[str]] = []
        for part, ids in zip(parts, self.ids, strict=True):
            if len(sample) < weights.sentences:
                tokens = _rows(run, part, ids, ["target_tokens"])["target_tokens"]
                sample += tokens.to_pylist()
        similarity.learn(weights, self.texts, sample[: weights.sentences], seed).save(file)


def lesson(
    section: Teachers, ignore: Collection[str] = (), seed: int = 0, rows: int = GOLD_ROWS
) -> Lesson:
    """What the teachers of a section say, in parts of about `rows` sentences.

    Raises JobError for a run that is not there, has no probabilities or no sentence in common with the
    others, and for teachers that do not know the same classes.
    """
    teachers = tuple(map(_teacher, section.runs))
    classes = _common_classes(teachers, ignore)
    known = [_known(teacher) for teacher in teachers]
    common = reduce(np.intersect1d, [ids for ids, _ in known])
    if not len(common):
        raise JobError(
            f"{', '.join(section.runs)}: have no sentence in common; give their jobs the same "
            "corpus section, languages included"
        )
    # The first teacher's shards, one after the other, are what parts are cut from.
    ids, shard = known[0]
    kept = np.isin(ids, common)
    kept[kept] = shared(np.ones(int(kept.sum()), bool), section.share, seed)
    parts: list[Ints] = []
    for number in np.unique(shard[kept]):
        here = ids[kept & (shard == number)]
        parts += np.array_split(here, -(-len(here) // rows))
    places = tuple(
        tuple(_places(teacher, *rest, part) for teacher, rest in zip(teachers, known, strict=True))
        for part in parts
    )
    names = "+".join(f"{each.run.fingerprint}@{each.snapshot.number}" for each in teachers)
    said = ""
    texts: tuple[list[list[str]], ...] = ()
    if isinstance(section.weights, Learned):
        texts = similarity.texts(section.weights)
        said = f"#{checkpoints.identity(section.weights.model)}#{similarity.digest(texts)}"
    signature = f"teachers:{names}{said}:{int(kept.sum())}"
    return Lesson(section, teachers, places, tuple(parts), texts, classes, signature)


def check(lesson: Lesson, classes: Collection[str]) -> None:
    """Raise JobError where teachers do not know some `classes` of the data: what data call an entity,
    they would call O."""
    missing = sorted({*classes} - {*lesson.classes})
    if missing:
        raise JobError(
            f"{lesson.teachers[0].location}: its tagger does not know {', '.join(missing)}, which the "
            "data have; leave them out with data.ignore"
        )


def matrix(tags: Sequence[str], labels: Sequence[str], ignore: Collection[str] = ()) -> Floats:
    """What takes probabilities (words, tags) to those of `labels` (words, labels): zeros and ones.

    Single words (S) begin an entity there and last ones (E) continue it; ignored classes are O.
    """
    found = np.zeros((len(tags), len(labels)))
    for number, tag in enumerate(tags):
        prefix, _, name = tag.partition("-")
        meant = "O" if not name or name in ignore else f"{_IOB2.get(prefix, prefix)}-{name}"
        found[number, list(labels).index(meant)] = 1
    return found


def mean(each: Floats, weights: Floats) -> Floats:
    """The weighted mean over teachers (words, labels).

    Args:
        each: probabilities (teachers, words, labels).
        weights: (teachers,), or (teachers, words).
    """
    weights = np.broadcast_to(weights.reshape(len(each), -1), each.shape[:2])
    shares = weights / weights.sum(axis=0)
    result: Floats = np.einsum("tw,twl->wl", shares, each)
    return result


def agreed(each: Floats, together: Floats) -> Floats:
    """Probabilities (words, labels) that are certain where all teachers find the same label likeliest,
    and those of the teachers `together` elsewhere (UniTrans). `each` is (teachers, words, labels).
    """
    best = each.argmax(axis=2)
    same = (best == best[0]).all(axis=0)
    certain = np.eye(each.shape[2])[best[0]]
    result: Floats = np.where(same[:, None], certain, together)
    return result


@dataclass(frozen=True)
class _Told:
    """What the reader of a part must know."""

    section: Teachers
    runs: tuple[Run, ...]
    onto: tuple[Floats, ...]
    labels: tuple[str, ...]
    file: Path


def _teacher(location: str) -> Teacher:
    run, snapshot = newest(location)
    tags = run.classes(snapshot, COLUMN)
    if tags is None:
        raise JobError(
            f"{location}: has no label probabilities with names; run a job of method transfer or "
            "ensemble into another output"
        )
    return Teacher(location, run, snapshot, tuple(tags))


def _common_classes(teachers: Sequence[Teacher], ignore: Collection[str]) -> tuple[str, ...]:
    every = set().union(*(teacher.classes(ignore) for teacher in teachers))
    for teacher in teachers:
        missing = sorted(every - teacher.classes(ignore))
        if missing:
            raise JobError(
                f"{teacher.location}: its tagger does not know {', '.join(missing)}, which other "
                "teachers do; leave them out with data.ignore"
            )
    return tuple(sorted(every))


def _known(teacher: Teacher) -> tuple[Ints, Ints]:
    """The ids of a teacher's rows that are ok, and the number of each one's shard."""
    ids, shards = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number, (name, held) in enumerate(teacher.run.shards(teacher.snapshot)):
        table = teacher.run.read_shard(name, held, ["status"])
        here = table.filter(pc.equal(table["status"], Status.OK.value))["id"].to_numpy()
        ids.append(here)
        shards.append(np.full(len(here), number))
    return np.concatenate(ids), np.concatenate(shards)


def _places(teacher: Teacher, ids: Ints, shard: Ints, wanted: Ints) -> tuple[tuple[str, Ints], ...]:
    """The shards that hold the rows `wanted`, each with the ids of those."""
    order = np.argsort(ids, kind="stable")
    here = shard[order[np.searchsorted(ids, wanted, sorter=order)]]
    names = teacher.snapshot.shards
    return tuple((names[number], wanted[here == number]) for number in np.unique(here).tolist())


def _rows(
    run: Run, places: Sequence[tuple[str, Ints]], ids: Ints, names: Sequence[str]
) -> pa.Table:
    """Columns of the rows `ids`, in this order."""
    table = pa.concat_tables([run.read_shard(name, held, names) for name, held in places])
    order = np.argsort(table["id"].to_numpy(), kind="stable")
    found = np.searchsorted(table["id"].to_numpy(), ids, sorter=order)
    return table.take(pa.array(order[found]))


def _read(told: _Told, places: Sequence[Sequence[tuple[str, Ints]]], ids: Ints) -> pa.Table:
    """A part. What a teacher has no probabilities of, or other words, is left out."""
    section = told.section
    tables = [
        _rows(run, here, ids, ["target_tokens", COLUMN] if not number else [COLUMN])
        for number, (run, here) in enumerate(zip(told.runs, places, strict=True))
    ]
    counts = pc.list_value_length(tables[0]["target_tokens"]).fill_null(0).to_numpy()
    whole = counts > 0
    for table in tables:
        whole &= pc.list_value_length(table[COLUMN]).fill_null(-1).to_numpy() == counts
    tables, counts = [table.filter(pa.array(whole)) for table in tables], counts[whole]
    tokens = tables[0]["target_tokens"].combine_chunks()
    each = np.stack(
        [
            columns.numbers(table[COLUMN]).reshape(-1, len(onto)) @ onto
            for table, onto in zip(tables, told.onto, strict=True)
        ]
    )
    together = mean(each, np.repeat(_weights(told, tokens), counts, axis=1))
    sure = together.max(axis=1, initial=0) >= section.min_confidence
    weights = np.where(sure, section.weight, 0).astype(np.float32)
    sentence = np.repeat(np.arange(len(counts)), counts)
    flat = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    tags: pa.Array = pa.nulls(len(counts), SCHEMA.field("tags").type)
    probs: pa.Array = pa.nulls(len(counts), SCHEMA.field("probs").type)
    if section.labels == "hard":
        best = together.argmax(axis=1)
        lines = [[told.labels[place] for place in best[a:b]] for a, b in pairwise(flat)]
        tags = pa.array([*map(tag_schemes.repair, lines)], tags.type)
    else:
        final = agreed(each, together) if section.labels == "agreed" else together
        probs = columns.nested(final.astype(np.float16), counts)
    weighed = pa.ListArray.from_arrays(pa.array(flat), pa.array(weights))
    table = pa.Table.from_arrays([tokens, tags, weighed, probs], schema=SCHEMA)
    return table.filter(pa.array(np.bincount(sentence[sure], minlength=len(counts)) > 0))


def _weights(told: _Told, tokens: pa.ListArray) -> Floats:
    """The weight of each teacher for each sentence: (teachers, sentences)."""
    given = told.section.weights
    if isinstance(given, Learned):
        learnt: Floats = similarity.Languages.load(told.file).weights(tokens).T
        return learnt
    numbers = np.ones(len(told.runs)) if isinstance(given, str) else np.array(given)
    weights: Floats = np.repeat(numbers[:, None], len(tokens), axis=1)
    return weights
