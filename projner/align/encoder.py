"""Word links from the hidden states of a multilingual encoder.

Any `AutoModel` encoder, or the encoder of a translation model (TransAlign, arXiv 2510.27337), with the
extraction methods of awesome-align and SimAlign. The sentences of both sides of many pairs are encoded
together, each distinct one once, and all but the word links stays on the device.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import batching, checkpoints, devices, record, subwords, windows
from projner.align import extraction
from projner.align.hidden import Layer
from projner.align.reading import Reader, Sentences, layers, layers_key
from projner.batching import Padding, ranges
from projner.config import Encoder
from projner.stage import Stage
from projner.subwords import SubWords

if TYPE_CHECKING:
    from torch import Tensor

CPU_TOKENS = 2048
"""A micro-batch that stays in a CPU's caches; larger ones are slower."""
GPU_TOKENS = 32_768
PART_BATCHES = 8
"""Micro-batches, about, whose vectors are held at once: the sentences of fewer pairs would leave more
padding."""


@dataclass(frozen=True)
class Part:
    """Sentence pairs that are worked on together, and their distinct sentences."""

    rows: np.ndarray
    """The pairs' rows in the table."""
    source: np.ndarray
    """The source sentence of each pair, by its place among the distinct ones."""
    target: np.ndarray
    sentences: Sentences


class EncoderAligner(Stage):
    """Fills `links` with the word links that an encoder sees, each with its score."""

    name: ClassVar[str] = "encoder"
    room: ClassVar[str | None] = "align"
    inputs = ("source_tokens", "target_tokens", "source_lang", "target_lang")
    outputs = ("links",)

    def __init__(self, config: Encoder, checkpoint: Path | None = None) -> None:
        """An aligner with the model of `config`, or with what `checkpoint` has made of it."""
        self.config = config
        self._checkpoint = checkpoint

    def resolved(self) -> EncoderAligner:
        settled = copy.copy(self)
        settled.config = devices.resolve(self.config)
        return settled

    def settings(self) -> dict[str, Any]:
        """As in `Stage`. Settles `auto` on this machine if nobody has; see `resolved`."""
        resources = {"batch_tokens", "device", "fine_tune"}
        kept = devices.resolve(self.config).model_dump(mode="json", exclude=resources)
        return {**kept, "model": checkpoints.identity(self.config.model)}

    def with_checkpoint(self, folder: Path) -> EncoderAligner:
        """This aligner with a checkpoint in place of its model."""
        return EncoderAligner(self.config, folder)

    def fetch(self) -> None:
        if self._checkpoint is None:
            checkpoints.fetch(self.config.model, self.config.revision)

    def setup(self, cpus: float | None = None) -> None:
        if cpus is not None:
            devices.use_threads(cpus)
        config = self.config
        if self._checkpoint is not None:
            config = config.model_copy(update={"model": str(self._checkpoint), "revision": None})
        self._model = HiddenStates(config)
        self._seconds = 0.0
        self._pairs = 0

    def counters(self) -> Mapping[str, float]:
        return {
            "pairs": self._pairs,
            "tokens": self._model.padding.tokens,
            "padding": self._model.padding.padding,
            "seconds": self._seconds,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        began = time.perf_counter()
        found = [links for part in self._parts(table) for links in self._align(part)]
        self._pairs += table.num_rows
        self._seconds += time.perf_counter() - began
        return record.with_column(table, "links", _column(table.num_rows, found))

    def _parts(self, table: pa.Table) -> Iterable[Part]:
        """The table's pairs by length; on a GPU, the next ones are encoded while these are used."""
        tokens = [table[name].combine_chunks() for name in self.inputs[:2]]
        languages = [table[name].combine_chunks() for name in self.inputs[2:]]
        sides = pa.concat_arrays(tokens), pa.concat_arrays(languages)
        counts = pc.list_value_length(sides[0]).to_numpy(zero_copy_only=False).astype(np.int64)
        sentence, first = _distinct(*sides, alike=self._model.reads_all_alike)
        source, target = sentence[: table.num_rows], sentence[table.num_rows :]
        lengths = counts[: table.num_rows] + counts[table.num_rows :]

        def encode(rows: np.ndarray) -> Part:
            here, place = np.unique([source[rows], target[rows]], return_inverse=True)
            kept = pa.array(first[here])
            words = pc.list_flatten(sides[0].take(kept))
            spoken = sides[1].take(kept).to_pylist()
            sentences = Sentences(self._model.encode(words), counts[first[here]], spoken)
            return Part(rows, place[0], place[1], sentences)

        parts = batching.pack(lengths, PART_BATCHES * self._model.budget, max_waste=1.0)
        return map(encode, parts) if self._model.device == "cpu" else batching.ahead(encode, parts)

    def _align(self, part: Part) -> list[tuple[np.ndarray, np.ndarray]]:
        """Word links (row, source word, target word) with their scores, micro-batch by micro-batch."""
        states, sentences = self._model.states(part.sentences), part.sentences
        first, words = sentences.first_piece, sentences.words
        if self.config.unit == "word":
            states, first, words = _average(states, sentences)
        lengths = np.diff(first)
        found: list[tuple[np.ndarray, np.ndarray]] = []

        def extract(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            ends = part.source[pairs], part.target[pairs]
            grids = [_grid(states, first[end], lengths[end]) for end in ends]
            (source, source_mask), (target, target_mask) = grids
            method, threshold = self.config.method, self.config.threshold
            links = extraction.extract(method, source, target, source_mask, target_mask, threshold)
            chosen = links.nonzero(as_tuple=True)
            scores = links[chosen].float().cpu().numpy()
            pair, *pieces = (index.cpu().numpy() for index in chosen)
            linked = [
                words[first[end][pair] + piece] for end, piece in zip(ends, pieces, strict=True)
            ]
            return np.stack([part.rows[pairs[pair]], *linked]), scores

        both = lengths[part.source] + lengths[part.target]
        for batch in batching.pack(both, self._model.budget):
            found += [links for _, links in devices.halving(extract, batch)]
        return found


class HiddenStates:
    """A checkpoint's encoder up to one layer, on its device.

    Raises JobError if it cannot be loaded or has no such layer.
    """

    device: str
    budget: int
    """Sub-words of a micro-batch."""
    padding: Padding
    """What it has read so far."""

    def __init__(self, config: Encoder) -> None:
        checkpoints.library()
        self.device = devices.choose_device(config.device)
        self.budget = config.batch_tokens or (CPU_TOKENS if self.device == "cpu" else GPU_TOKENS)
        self.padding = Padding()
        self._reader = Reader(config.model, config.revision)
        settings = checkpoints.load_config(config.model, config.revision)
        # One layer more than is read: what comes after the last layer (a norm) is not wanted.
        kept = min(config.layer + 1, layers(settings, config.model, config.layer))
        setattr(settings, layers_key(settings), kept)
        model = checkpoints.load_model(
            "AutoModel",
            config.model,
            revision=config.revision,
            dtype=devices.choose_dtype(config.dtype, self.device),
            device=self.device,
            config=settings,
        )
        encoder = model.get_encoder() if settings.is_encoder_decoder else model
        self._layer = Layer(encoder, config.layer, kept)
        self._limit = self._reader.limit(model)

    @property
    def reads_all_alike(self) -> bool:
        """Whether sentences are read in the same way whatever their language."""
        return self._reader.all_alike

    def encode(self, words: pa.StringArray) -> SubWords:
        """The sub-words of every word."""
        return self._reader.encode(words, self._limit)

    def states(self, sentences: Sentences) -> Tensor:
        """Vectors (sub-words, width) of all sub-words, sentence after sentence."""
        import torch

        sizes = sentences.pieces.sizes
        cut = windows.cover_all(sizes, sentences.counts, self._limit, self._limit // 4)
        before = np.concatenate([[0], np.cumsum(sizes)])
        starts, ends, first, last = before[cut.T]
        lengths = ends - starts
        sentence = np.searchsorted(sentences.first_piece, starts, side="right") - 1
        languages = [sentences.languages[number] for number in sentence]
        vectors: Tensor | None = None

        def compute(rows: np.ndarray) -> tuple[Tensor, Tensor]:
            ids = sentences.pieces.ids[ranges(starts[rows], lengths[rows])]
            grid = subwords.grid(ids, lengths[rows], frame)
            mask = np.arange(grid.shape[1]) < (lengths[rows] + frame.size)[:, None]
            lines = np.arange(len(rows)) * grid.shape[1] + len(frame.prefix)
            counts = last[rows] - first[rows]
            wanted = ranges(lines + first[rows] - starts[rows], counts)
            hidden = self._layer.states(self._send(grid), self._send(mask.astype(np.int64)))
            chosen = hidden.flatten(0, 1).index_select(0, self._send(wanted))
            return self._send(ranges(first[rows], counts)), chosen

        with torch.inference_mode():
            for frame, parts in self._reader.by_frame(languages):
                for batch in batching.pack(lengths[parts] + frame.size, self.budget):
                    for rows, (places, chosen) in devices.halving(compute, parts[batch]):
                        self.padding.add(lengths[rows] + frame.size)
                        if vectors is None:
                            vectors = chosen.new_empty(len(sentences.pieces.ids), chosen.shape[1])
                        vectors.index_copy_(0, places, chosen)
        return torch.empty(0, 1, device=self.device) if vectors is None else vectors

    def _send(self, array: np.ndarray) -> Tensor:
        return devices.send(array, self.device)


def _distinct(
    tokens: pa.ListArray, languages: pa.StringArray, *, alike: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which distinct sentence each one is, and where the distinct ones first come.

    Sentences with the same words are the same, and in the same language unless all are read `alike`.
    """
    text = pc.binary_join(tokens, "\x1f")
    if not alike:
        text = pc.binary_join_element_wise(languages, text, "\x1f")
    number = np.asarray(text.dictionary_encode().indices)
    _, first = np.unique(number, return_index=True)
    return number, first


def _average(states: Tensor, sentences: Sentences) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The mean vector of each word that has sub-words, in place of these.

    Also where each sentence's words begin, and the place of each word in its sentence.
    """
    import torch

    sizes, words = sentences.pieces.sizes, sentences.words
    kept = sizes[sizes > 0]
    owner = torch.from_numpy(np.repeat(np.arange(len(kept)), kept)).to(states.device)
    sums = torch.zeros(len(kept), states.shape[1], device=states.device, dtype=torch.float32)
    sums.index_add_(0, owner, states.float())
    means = sums / torch.from_numpy(kept).to(states.device)[:, None]
    before = np.concatenate([[0], np.cumsum(sizes > 0)])
    return means, before[sentences.first_word], words[np.cumsum(kept) - kept]


def _grid(states: Tensor, first: np.ndarray, lengths: np.ndarray) -> tuple[Tensor, Tensor]:
    """Vectors (sentences, longest, width) and where they are; sentences begin at `first`."""
    import torch

    longest = max(1, int(lengths.max()))
    mask = np.arange(longest) < lengths[:, None]
    places = np.where(mask, first[:, None] + np.arange(longest), 0)
    where = torch.from_numpy(mask).to(states.device)
    if not len(states):
        return states.new_zeros(*mask.shape, states.shape[1]), where
    return states[torch.from_numpy(places).to(states.device)], where


def _column(rows: int, found: Sequence[tuple[np.ndarray, np.ndarray]]) -> pa.Array:
    """The `links` column: each link once, with the best of its sub-word links' scores."""
    links = np.concatenate([np.empty((3, 0), np.int64), *(part for part, _ in found)], axis=1)
    scores = np.concatenate([np.empty(0, np.float32), *(part for _, part in found)])
    shape = max(1, rows), *(int(words.max(initial=0)) + 1 for words in links[1:])
    keys = np.ravel_multi_index(tuple(links), shape)
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    best = np.maximum.reduceat(scores[order], first) if len(first) else scores
    row, source, target = links[:, order[first]]
    items = pa.StructArray.from_arrays(
        [pa.array(source.astype(np.int32)), pa.array(target.astype(np.int32)), pa.array(best)],
        fields=list(record.LINK),
    )
    offsets = np.searchsorted(row, np.arange(rows + 1))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items)
