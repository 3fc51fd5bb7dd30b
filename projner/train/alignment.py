"""Words that translate each other, with like states: a loss over the links of parallel text.

Pairs are of words that are linked to each other alone (Cao, Kitaev and Klein 2020, arXiv 2002.03518,
who measure it by retrieval as well). Whether it helps a tagger depends on the language and the encoder,
and often it does not (Wu and Dredze 2020, arXiv 2010.02537): measure it on and off.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from projner import checkpoints, columns, subwords
from projner.align.hidden import Layer
from projner.align.reading import layers
from projner.batching import ranges
from projner.errors import JobError
from projner.pipeline import Read
from projner.record import Status
from projner.runs.run import Run
from projner.train import losses
from projner.train.beside import Device, Rows, Source
from projner.train.config import Alignment, Training
from projner.train.data import newest
from projner.train.examples import Reading, framed

NAME = "alignment"
SIDES = ("source", "target")
MEASURED = 64
"""Sentence pairs of a pass that only measures."""


@dataclass(frozen=True)
class Pulling:
    """Pulling linked words together."""

    section: Alignment
    layer: int
    layers: int
    batch: int
    data: str
    """Which runs and snapshots, and how many of their rows were looked at."""
    name: str = NAME

    @property
    def held_out(self) -> int:
        return self.section.held_out

    @property
    def signature(self) -> str:
        return f"{NAME}({self.section.loss}@{self.layer})*{self.section.weight}/{self.batch}:{self.data}"

    @property
    def described(self) -> str:
        what = (
            "measured, not learnt" if not self.section.weight else f"weight {self.section.weight}"
        )
        return (
            f"to have like states in layer {self.layer} for linked words of `{self.data}` "
            f"({self.section.loss} loss, {what})"
        )

    def encode(self, table: pa.Table, reading: Reading) -> pa.Table:
        limit = min(reading.limit, self.section.max_tokens)
        return encode(table, reading.model, reading.tokenizer(), limit)

    def learner(self, tagger: Any, device: Device, rows: Rows) -> Learner:
        return Learner(self, tagger, device, rows)


def source(training: Training, section: Alignment) -> Source:
    """What a section asks to learn.

    Raises JobError for a run without links, and for a layer that the model does not have.
    """
    settings = checkpoints.load_config(training.model, training.revision)
    there = layers(settings, training.model, section.layer or 0, "alignment.layer")
    found = []
    for location in section.runs:
        run, snapshot = newest(location)
        shards = list(run.shards(snapshot))
        if not any("links" in _columns(run, name) for name, _ in shards):
            raise JobError(f"{location}: has no links; give a run whose job has `align`")
        found += [(run, snapshot.number, name, ids) for name, ids in shards]
    kept = np.ones(sum(len(ids) for *_, ids in found), bool)
    if section.limit is not None:
        chance = np.random.default_rng(training.seed)
        kept[chance.permutation(len(kept))[section.limit :]] = False
    parts: list[Read] = []
    counts: dict[str, int] = {}
    ends = np.cumsum([len(ids) for *_, ids in found])
    for (run, number, name, ids), chosen in zip(found, np.split(kept, ends[:-1]), strict=True):
        snapshot_of = f"{run.fingerprint}@{number}"
        counts[snapshot_of] = counts.get(snapshot_of, 0) + int(chosen.sum())
        if chosen.any():
            parts.append(Read(partial(_pairs, run, name, ids[chosen]), int(chosen.sum())))
    data = ",".join(f"{snapshot_of}:{count}" for snapshot_of, count in counts.items())
    layer = there if section.layer is None else section.layer
    task = Pulling(section, layer, there, section.batch or training.batch, data)
    return Source(task, parts)


def _columns(run: Run, name: str) -> list[str]:
    names: list[str] = (run.folder / "data" / name).read_schema().names
    return names


def _pairs(run: Run, name: str, ids: np.ndarray) -> pa.Table:
    wanted = ["status", "source_tokens", "target_tokens", "links"]
    table = run.read_shard(name, ids, wanted)
    if not set(wanted) <= set(table.column_names):
        return table.slice(0, 0)
    return table.filter(
        pc.and_(pc.equal(table["status"], Status.OK.value), table["links"].is_valid())
    )


def encode(table: pa.Table, model: str, tokenizer: Any, limit: int) -> pa.Table:
    """Sentence pairs with linked words, of rows with `source_tokens`, `target_tokens` and `links`.

    Of either side it has `..._ids`, sub-words with special tokens, at most `limit` without these; and of
    each linked word where it begins there (`..._first`), its sub-words (`..._size`) and a number of its
    form (`..._form`). Sentences that are longer, or have no linked word, are left out, and so are words
    with several links or without any sub-word.
    """
    frame = subwords.frame(tokenizer, model)
    sides = [_Side.of(table[f"{side}_tokens"], tokenizer, limit) for side in SIDES]
    links = columns.lists(table["links"], SIDES)
    row = np.repeat(np.arange(table.num_rows), np.diff(links.offsets))
    words = [
        side.first_word[row] + links.fields[name] for side, name in zip(sides, SIDES, strict=True)
    ]
    kept = np.ones(len(row), bool)
    for side, word in zip(sides, words, strict=True):
        alone = np.bincount(word, minlength=len(side.sizes)) == 1
        kept &= (alone & (side.sizes > 0))[word] & (side.lengths <= limit)[row]
    row = row[kept]
    rows = np.unique(row)
    offsets = np.searchsorted(row, [*rows, table.num_rows])
    made: dict[str, pa.Array] = {}
    for name, side, word in zip(SIDES, sides, words, strict=True):
        word = word[kept]
        lengths = side.lengths[rows]
        pieces = side.ids[ranges(side.first_piece[side.first_word[rows]], lengths)]
        made[f"{name}_ids"] = framed(pieces, lengths, frame)
        begins = side.first_piece[word] - side.first_piece[side.first_word[row]]
        for key, values in {
            "first": begins + len(frame.prefix),
            "size": side.sizes[word],
            "form": side.forms[word],
        }.items():
            made[f"{name}_{key}"] = pa.ListArray.from_arrays(
                pa.array(offsets.astype(np.int32)), pa.array(values.astype(np.int64))
            )
    return pa.table(made)


@dataclass(frozen=True)
class _Side:
    """One side's sentences; arrays of words go through all of them."""

    ids: np.ndarray
    sizes: np.ndarray
    forms: np.ndarray
    first_word: np.ndarray
    first_piece: np.ndarray
    lengths: np.ndarray
    """Sub-words of each sentence."""

    @classmethod
    def of(cls, tokens: pa.ChunkedArray, tokenizer: Any, limit: int) -> _Side:
        array = tokens.combine_chunks()
        counts = np.asarray(pc.fill_null(pc.list_value_length(array), 0), np.int64)
        words = pc.list_flatten(array)
        # A sub-word more than may be, by which too long words are known.
        pieces = subwords.encode(words, tokenizer.backend_tokenizer, limit + 1)
        distinct = words.dictionary_encode()
        forms = [zlib.crc32(word.casefold().encode()) for word in distinct.dictionary.to_pylist()]
        first_word = np.concatenate([[0], np.cumsum(counts)])
        first_piece = np.concatenate([[0], np.cumsum(pieces.sizes)])
        return cls(
            ids=pieces.ids,
            sizes=pieces.sizes,
            forms=np.array(forms, np.int64)[np.asarray(distinct.indices)],
            first_word=first_word[:-1],
            first_piece=first_piece,
            lengths=np.diff(first_piece[first_word]),
        )


class Learner:
    """The encoder, whose states of linked words are compared."""

    def __init__(self, task: Pulling, tagger: Any, device: Device, rows: Rows) -> None:
        self._section = task.section
        self._tagger = tagger
        self._device = device
        self._rows = rows
        self._pairs = rows.lengths("source_first")
        self.head: torch.nn.Module = torch.nn.Identity()
        with self._still():
            self._layer = Layer(tagger.base_model, task.layer, task.layers)

    def learn(self, step: int, rank: int, world: int) -> float | None:
        if not self._section.weight:
            return None
        chosen = self._rows.of_step(step)
        mine = chosen[rank::world]
        if not len(mine):
            return 0.0
        loss = self.loss(self._rows.take(mine)) * (world / self._pairs[chosen].sum())
        (loss * self._section.weight).backward()
        return float(loss.detach())

    def loss(self, table: pa.Table) -> torch.Tensor:
        """The summed loss of the linked words of some sentence pairs."""
        source, target = (self._states(table, side) for side in SIDES)
        if self._section.loss == "cosine":
            return losses.cosine(source, target)
        alike = np.zeros((len(source), len(source)), bool)
        for side in SIDES:
            forms = _flat(table, f"{side}_form")
            alike |= forms[:, None] == forms
        (sent,) = self._device.send([alike])
        return losses.contrastive(source, target, sent, self._section.temperature)

    def measure(self) -> dict[str, float]:
        """`retrieval`: of the words of the pairs held out, from either side, the share that is nearest to
        its counterpart or to a word of the same form."""
        rows = self._rows.held_out
        if not len(rows):
            return {}
        tables = [self._rows.take(part) for part in np.array_split(rows, -(-len(rows) // MEASURED))]
        with self._still(), torch.inference_mode():
            sides = [torch.cat([self._states(table, side) for table in tables]) for side in SIDES]
        forms = [
            np.concatenate([_flat(table, f"{side}_form") for table in tables]) for side in SIDES
        ]
        return {"retrieval": retrieval(*sides, *forms)}

    def _states(self, table: pa.Table, side: str) -> torch.Tensor:
        """The mean state of each linked word's sub-words (pairs, width)."""
        ids = columns.lists(table[f"{side}_ids"])
        lengths = np.diff(ids.offsets)
        width = int(lengths.max())
        grid = np.full((len(lengths), width), self._device.pad, np.int64)
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        grid[mask.astype(bool)] = _flat(table, f"{side}_ids")
        line = np.repeat(
            np.arange(len(lengths)), np.diff(columns.lists(table[f"{side}_first"]).offsets)
        )
        sizes = _flat(table, f"{side}_size")
        cells = ranges(line * width + _flat(table, f"{side}_first"), sizes)
        word = np.repeat(np.arange(len(sizes)), sizes)
        sent = self._device.send([grid, mask, cells, word, sizes])
        with self._device.autocast():
            found = self._layer.states(*sent[:2])
        states = found.flatten(0, 1).index_select(0, sent[2]).float()
        sums = states.new_zeros(len(sizes), states.shape[1]).index_add(0, sent[3], states)
        return sums / sent[4][:, None]

    @contextmanager
    def _still(self) -> Iterator[None]:
        """The tagger without dropout."""
        training = self._tagger.training
        self._tagger.eval()
        try:
            yield
        finally:
            self._tagger.train(training)


def retrieval(
    source: torch.Tensor, target: torch.Tensor, source_forms: np.ndarray, target_forms: np.ndarray
) -> float:
    """The share of words whose nearest of the other side, by cosine, is their counterpart or one of the
    same form; of both directions (pairs, width), and forms (pairs,)."""
    source, target = (torch.nn.functional.normalize(each, dim=-1) for each in (source, target))
    scores = source @ target.T
    right = []
    for each, forms in ((scores, target_forms), (scores.T, source_forms)):
        nearest = each.argmax(1).cpu().numpy()
        right.append(forms[nearest] == forms)
    return float(np.mean(right))


def _flat(table: pa.Table, column: str) -> np.ndarray:
    return np.array(pc.list_flatten(table[column].combine_chunks()), np.int64)
