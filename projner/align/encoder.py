"""Word links from the hidden states of a multilingual encoder.

Any `AutoModel` encoder, or the encoder of a translation model (TransAlign, arXiv 2510.27337), with the
extraction methods of awesome-align and SimAlign. Both sides of many sentence pairs are encoded at once,
and all but the word links stays on the device.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import batching, checkpoints, devices, record, subwords, windows
from projner.align import extraction
from projner.batching import Padding, ranges
from projner.config import Encoder
from projner.errors import JobError
from projner.stage import Stage
from projner.subwords import Frame, SubWords

if TYPE_CHECKING:
    from torch import Tensor

CPU_TOKENS = 2048
"""A micro-batch that stays in a CPU's caches; larger ones are slower."""
GPU_TOKENS = 32_768


@dataclass(frozen=True)
class Side:
    """One side of all sentence pairs: its words' sub-words, and each sentence's words."""

    pieces: SubWords
    counts: np.ndarray
    """Words of each sentence."""

    @property
    def first_word(self) -> np.ndarray:
        """Where each sentence's words begin (sentences + 1)."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @property
    def first_piece(self) -> np.ndarray:
        """Where each word's sub-words begin (words + 1)."""
        return np.concatenate([[0], np.cumsum(self.pieces.sizes)])

    @property
    def lengths(self) -> np.ndarray:
        """Sub-words of each sentence."""
        return np.diff(self.first_piece[self.first_word])


class EncoderAligner(Stage):
    """Fills `links` with the word links that an encoder sees, each with its score."""

    name: ClassVar[str] = "encoder"
    room: ClassVar[str | None] = "align"
    inputs = ("source_tokens", "target_tokens", "source_lang", "target_lang")
    outputs = ("links",)

    def __init__(self, config: Encoder) -> None:
        self.config = config
        self._seconds = 0.0
        self._pairs = 0

    def settings(self) -> dict[str, Any]:
        resources = {"batch_tokens", "device", "allow_pickle"}
        kept = self.config.model_dump(mode="json", exclude=resources)
        return {**kept, "model": checkpoints.identity(self.config.model)}

    def fetch(self) -> None:
        checkpoints.fetch(self.config.model, self.config.revision, self.config.allow_pickle)

    def setup(self, cpus: float | None = None) -> None:
        if cpus is not None:
            devices.use_threads(cpus)
        self._padding = Padding()
        self._model = HiddenStates(self.config)
        default = CPU_TOKENS if self._model.device == "cpu" else GPU_TOKENS
        self._budget = self.config.batch_tokens or default

    def counters(self) -> Mapping[str, float]:
        return {
            "pairs": self._pairs,
            "tokens": self._padding.tokens,
            "padding": self._padding.padding,
            "seconds": self._seconds,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        began = time.perf_counter()
        links = np.empty((0, 3), np.int64)
        scores = np.empty(0, np.float32)
        for rows, languages in _language_pairs(table):
            some_links, some_scores = self._align(table.take(pa.array(rows)), languages)
            some_links[:, 0] = rows[some_links[:, 0]]
            links = np.concatenate([links, some_links])
            scores = np.concatenate([scores, some_scores])
        self._pairs += table.num_rows
        self._seconds += time.perf_counter() - began
        return record.with_column(table, "links", _column(table.num_rows, links, scores))

    def _align(self, table: pa.Table, languages: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
        """Links (row, source word, target word) and their scores, of rows of one language pair."""
        sides = [self._side(table["source_tokens"]), self._side(table["target_tokens"])]
        lengths = sides[0].lengths + sides[1].lengths
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for batch in batching.pack(lengths, self._budget):
            parts = devices.halving(lambda rows: self._batch(sides, languages, rows), batch)
            found += [part for _, part in parts]
        links = np.concatenate([part for part, _ in found] or [np.empty((0, 3), np.int64)])
        scores = np.concatenate([part for _, part in found] or [np.empty(0, np.float32)])
        return links, scores

    def _side(self, tokens: pa.ChunkedArray) -> Side:
        array = tokens.combine_chunks()
        counts = pc.list_value_length(array).to_numpy(zero_copy_only=False).astype(np.int64)
        return Side(self._model.encode(pc.list_flatten(array)), counts)

    def _batch(
        self, sides: list[Side], languages: tuple[str, str], rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        grids, words = [], []
        for side, language in zip(sides, languages, strict=True):
            states, lengths = self._model.states(side, rows, language, self._padding)
            word = _word_in_sentence(side, rows)
            if self.config.unit == "word":
                states, lengths, word = _average(states, side, rows, word)
            grids.append(_grid(states, lengths))
            words.append((np.cumsum(lengths) - lengths, word))
        (source, source_mask), (target, target_mask) = grids
        method, threshold = self.config.method, self.config.threshold
        links = extraction.extract(method, source, target, source_mask, target_mask, threshold)
        chosen = links.nonzero(as_tuple=True)
        scores = links[chosen].float().cpu().numpy()
        pair, *pieces = (index.cpu().numpy() for index in chosen)
        ends = [
            word[first[pair] + piece] for (first, word), piece in zip(words, pieces, strict=True)
        ]
        return _word_links(np.column_stack([rows[pair], *ends]), scores)


class HiddenStates:
    """A checkpoint's encoder up to one layer, on its device.

    Raises JobError if it cannot be loaded or has no such layer.
    """

    def __init__(self, config: Encoder) -> None:
        checkpoints.library()
        self._config = config
        self.device = devices.choose_device(config.device)
        tokenizer = checkpoints.load_tokenizer(config.model, config.revision)
        settings = checkpoints.load_config(config.model, config.revision)
        key = "encoder_layers" if settings.is_encoder_decoder else "num_hidden_layers"
        layers = getattr(settings, key)
        if not 0 <= config.layer <= layers:
            raise JobError(
                f"{config.model}: has {layers} layers; set align.layer to one of 0..{layers}"
            )
        # One layer more than is read: what comes after the last layer (a norm) is not wanted.
        setattr(settings, key, min(config.layer + 1, layers))
        model = checkpoints.load_model(
            "AutoModel",
            config.model,
            revision=config.revision,
            allow_pickle=config.allow_pickle,
            dtype=devices.choose_dtype(config.dtype, self.device),
            device=self.device,
            config=settings,
        )
        self._model = model.get_encoder() if settings.is_encoder_decoder else model
        self._tokenizer = tokenizer
        self._frames: dict[str, Frame] = {}
        self._limit = (
            subwords.limit(model, tokenizer) - subwords.frame(tokenizer, config.model).size
        )
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()

    def encode(self, words: pa.StringArray) -> SubWords:
        """The sub-words of every word."""
        return subwords.encode(words, self._tokenizer.backend_tokenizer, self._limit)

    def states(
        self, side: Side, rows: np.ndarray, language: str, padding: Padding
    ) -> tuple[Tensor, np.ndarray]:
        """Vectors of the sub-words of sentences, one after the other, and each sentence's count."""
        import torch

        counts = side.counts[rows]
        words = ranges(side.first_word[rows], counts)
        sizes = side.pieces.sizes[words]
        ids = side.pieces.ids[ranges(side.first_piece[words], sizes)]
        parts = windows.cover_all(sizes, counts, self._limit, self._limit // 4)
        parts = parts[np.argsort(parts[:, 2], kind="stable")]
        before = np.concatenate([[0], np.cumsum(sizes)])
        starts, ends, first, last = before[parts.T]
        frame = self._frame(language)
        grid = subwords.grid(ids[ranges(starts, ends - starts)], ends - starts, frame)
        padding.add(ends - starts + frame.size)
        mask = np.arange(grid.shape[1]) < (ends - starts + frame.size)[:, None]
        lines = np.arange(len(parts)) * grid.shape[1] + len(frame.prefix)
        wanted = ranges(lines + first - starts, last - first)
        with torch.inference_mode():
            hidden = self._model(
                input_ids=self._send(grid),
                attention_mask=self._send(mask.astype(np.int64)),
                output_hidden_states=True,
            ).hidden_states[self._config.layer]
            vectors = hidden.flatten(0, 1).index_select(0, self._send(wanted))
        return vectors, side.lengths[rows]

    def _frame(self, language: str) -> Frame:
        """The special tokens around a sentence; translation models have one for the language."""
        if language not in self._frames:
            if hasattr(self._tokenizer, "src_lang"):
                self._tokenizer.src_lang = language
            self._frames[language] = subwords.frame(self._tokenizer, self._config.model)
        return self._frames[language]

    def _send(self, array: np.ndarray) -> Tensor:
        import torch

        return torch.from_numpy(array).to(self.device)


def _language_pairs(table: pa.Table) -> Iterator[tuple[np.ndarray, tuple[str, str]]]:
    pairs = np.array(
        [table["source_lang"].to_pylist(), table["target_lang"].to_pylist()], dtype=object
    )
    for pair in dict.fromkeys(zip(*pairs, strict=True)):
        yield np.flatnonzero((pairs[0] == pair[0]) & (pairs[1] == pair[1])), pair


def _word_in_sentence(side: Side, rows: np.ndarray) -> np.ndarray:
    """For every sub-word of the sentences, the word in its sentence that it belongs to."""
    counts = side.counts[rows]
    sizes = side.pieces.sizes[ranges(side.first_word[rows], counts)]
    return np.repeat(ranges(np.zeros(len(rows), np.int64), counts), sizes)


def _average(
    states: Tensor, side: Side, rows: np.ndarray, word: np.ndarray
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The mean vector of each word that has sub-words, in place of these."""
    import torch

    sizes = side.pieces.sizes[ranges(side.first_word[rows], side.counts[rows])]
    kept = sizes[sizes > 0]
    owner = torch.from_numpy(np.repeat(np.arange(len(kept)), kept)).to(states.device)
    sums = torch.zeros(len(kept), states.shape[1], device=states.device, dtype=torch.float32)
    sums.index_add_(0, owner, states.float())
    means = sums / torch.from_numpy(kept).to(states.device)[:, None]
    sentence = np.repeat(np.arange(len(rows)), side.counts[rows])[sizes > 0]
    firsts = np.cumsum(kept) - kept
    return means, np.bincount(sentence, minlength=len(rows)), word[firsts]


def _grid(states: Tensor, lengths: np.ndarray) -> tuple[Tensor, Tensor]:
    """Vectors (sentences, longest, width) and where they are, from one vector after the other."""
    import torch

    longest = max(1, int(lengths.max()))
    mask = torch.arange(longest) < torch.from_numpy(lengths)[:, None]
    mask = mask.to(states.device)
    vectors = torch.zeros(*mask.shape, states.shape[1], device=states.device, dtype=states.dtype)
    vectors[mask] = states
    return vectors, mask


def _word_links(links: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each link (row, source word, target word) once, with the best of its sub-word links' scores."""
    distinct, place = np.unique(links, axis=0, return_inverse=True)
    best = np.zeros(len(distinct), np.float32)
    np.maximum.at(best, place.reshape(-1), scores)
    return distinct, best


def _column(rows: int, links: np.ndarray, scores: np.ndarray) -> pa.Array:
    order = np.lexsort(links.T[::-1])
    links, scores = links[order], scores[order]
    offsets = np.searchsorted(links[:, 0], np.arange(rows + 1))
    items = pa.StructArray.from_arrays(
        [
            pa.array(links[:, 1].astype(np.int32)),
            pa.array(links[:, 2].astype(np.int32)),
            pa.array(scores),
        ],
        fields=list(record.LINK),
    )
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items)
