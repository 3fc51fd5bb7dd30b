"""Another task learnt together with the tags: what a CoNLL-U file tells of each word.

A linear head reads the same states as the tags' own, each word's first sub-word (Collobert and Weston
2008; Ruder 2017, arXiv 1706.05098). Arcs of a dependency tree are tags as well, the distance of a word's
head (Strzyz et al. 2019, NAACL; Vacareanu et al. 2020, LREC, as good as biaffine parsers with BERT), so
that no head for pairs of words is needed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import torch

from projner import batching
from projner.corpus import files
from projner.corpus.files import File
from projner.errors import JobError
from projner.pipeline import Read
from projner.train import examples, losses
from projner.train.batch import Batch
from projner.train.beside import Device, Rows, Source
from projner.train.config import Auxiliary
from projner.train.data import GOLD_ROWS, SCHEMA
from projner.train.examples import Reading

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
UNKNOWN = "_"
DROPOUT = 0.1

_NO_WORD = re.compile(r"\d+[-.]\d+")
"""The number of a token of several words, or of a word that is not there."""


class Sentence(NamedTuple):
    """Words, and a tag of each; None where the file does not say."""

    tokens: list[str]
    tags: list[str | None]


@dataclass(frozen=True)
class Tagging:
    """A second set of tags to learn."""

    name: str
    labels: tuple[str, ...]
    weight: float
    batch: int
    data: str
    """Files and a digest of what was read."""
    held_out: int = 0

    @property
    def signature(self) -> str:
        return f"{self.name}*{self.weight}/{self.batch}:{self.data}"

    @property
    def described(self) -> str:
        return f"`{self.name}` of `{self.data}`, with weight {self.weight}"

    def encode(self, table: pa.Table, reading: Reading) -> pa.Table:
        own = Reading(reading.model, reading.revision, reading.limit, self.labels)
        return examples.encode(table, own, own.tokenizer())

    def learner(self, tagger: Any, device: Device, rows: Rows) -> Learner:
        return Learner(self, tagger, device, rows)


class Learner:
    """A linear head that gives words their tags, and the encoder that it learns with."""

    def __init__(self, task: Tagging, tagger: Any, device: Device, rows: Rows) -> None:
        self._task = task
        self._device = device
        self._rows = rows
        self._weights = rows.sums("weights")
        self._encoder = tagger.base_model
        self.head: torch.nn.Module = torch.nn.Sequential(
            torch.nn.Dropout(DROPOUT),
            torch.nn.Linear(tagger.config.hidden_size, len(task.labels)),
        ).to(device.name)

    def learn(self, step: int, rank: int, world: int) -> float:
        chosen = self._rows.of_step(step)
        scale = world / max(1e-9, float(self._weights[chosen].sum()))
        lost = 0.0
        batch = Batch.of(self._rows.take(chosen[rank::world]), self._device.pad)
        for part in batching.pack(batch.lengths, self._device.budget):
            loss = self.loss(batch.part(part)) * scale
            (loss * self._task.weight).backward()
            lost += float(loss.detach())
        return lost

    def measure(self) -> dict[str, float]:
        return {}

    def loss(self, part: tuple[Any, ...]) -> torch.Tensor:
        """The summed loss of some rows, given as `Batch.part` has them."""
        grid, mask, cells, labels, weights, *_ = self._device.send(part)
        with self._device.autocast():
            states = self._encoder(input_ids=grid, attention_mask=mask)[0]
            logits = self.head(states.flatten(0, 1).index_select(0, cells))
        return losses.hard(logits, labels, weights)


def source(section: Auxiliary, name: str, batch: int) -> Source:
    """What a section asks to learn, under `name`, with `batch` sentences a step where it has no number.

    Raises JobError for a file that is not CoNLL-U, and for a column that says nothing.
    """
    sentences = [each for path in section.path for each in read(path, section.column)]
    known = {tag for sentence in sentences for tag in sentence.tags if tag is not None}
    if len(known) < 2:
        raise JobError(
            f"{', '.join(section.path)}: tells nothing apart in the column {section.column}; "
            "choose another auxiliary.column"
        )
    # What an example has where nothing is known, at no weight.
    labels = ("O", *sorted(known - {"O"}))
    data = f"{','.join(section.path)}#{zlib.crc32(repr(sentences).encode()):08x}"
    task = Tagging(name, labels, section.weight, section.batch or batch, data)
    parts = [sentences[first : first + GOLD_ROWS] for first in range(0, len(sentences), GOLD_ROWS)]
    return Source(task, [Read(partial(_table, part), len(part)) for part in parts])


def _table(sentences: list[Sentence]) -> pa.Table:
    """Sentences as `data.SCHEMA`; words without a tag weigh nothing."""
    rows = [
        {
            "tokens": tokens,
            "tags": [tag or "O" for tag in tags],
            "weights": [float(tag is not None) for tag in tags],
            "probs": None,
        }
        for tokens, tags in sentences
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read(path: str, column: str) -> Iterator[Sentence]:
    """The sentences of a CoNLL-U file, with one of its columns.

    Syntactic words count, as the tree's do: tokens of several words, and words that are not there, are
    left out. Of `head` it gives how many words after a word its head is, and 0 for the root.

    Raises JobError, with the line, for what is no CoNLL-U.
    """
    file = File(path, path)
    files.head(file)
    words: list[list[str]] = []
    first, found = 1, False
    for number, line, problem in _lines(file):
        where = f"{path}:{number}"
        if problem is not None:
            raise JobError(problem)
        if line.startswith("#") and not words:
            continue
        if line.strip():
            fields = line.split("\t")
            if len(fields) != len(COLUMNS):
                raise JobError(
                    f"{where}: CoNLL-U has {len(COLUMNS)} columns, parted by tabs, and this line has "
                    f"{len(fields)}; mend it"
                )
            if _NO_WORD.fullmatch(fields[0]):
                continue
            if fields[0] != str(len(words) + 1):
                raise JobError(
                    f"{where}: the word's number is {fields[0]!r} where {len(words) + 1} comes next; "
                    "mend the line"
                )
            if not fields[1].strip():
                raise JobError(f"{where}: the word is empty; mend the line")
            first = first if words else number
            words.append(fields)
        elif words:
            yield _sentence(words, column, f"{path}:{first}")
            words, found = [], True
    if words:
        yield _sentence(words, column, f"{path}:{first}")
    elif not found:
        raise JobError(f"{path}: holds no sentences; give a CoNLL-U file")


def _lines(file: File) -> Iterator[tuple[int, str, str | None]]:
    for block in files.lines(file, 0, 0):
        for row, line in enumerate(block.text.to_pylist()):
            yield block.before + row + 1, line, block.problems.get(row)


def _sentence(words: list[list[str]], column: str, where: str) -> Sentence:
    tokens = [fields[1] for fields in words]
    tags = [fields[COLUMNS.index(column)] for fields in words]
    if column == "head":
        tags = [_distance(tag, place, len(words), where) for place, tag in enumerate(tags, 1)]
    return Sentence(tokens, [None if tag == UNKNOWN else tag for tag in tags])


def _distance(head: str, place: int, count: int, where: str) -> str:
    if head == UNKNOWN or head == "0":
        return head
    if not head.isdecimal() or int(head) > count or int(head) == place:
        raise JobError(
            f"{where}: word {place} of this sentence has the head {head!r}, which is no other of its "
            f"{count} words; mend it"
        )
    return f"{int(head) - place:+}"
