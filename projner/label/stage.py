"""The stage that labels one side's words."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import checkpoints, columns, devices, record
from projner.batching import Padding, ahead, pack, ranges
from projner.config import Label
from projner.label.decode import entities
from projner.label.pooling import pool
from projner.label.reader import Reader, read_labels
from projner.label.transformers import Tagger
from projner.label.vllm import Served
from projner.stage import Stage
from projner.subwords import SubWords
from projner.windows import cover_all

PART_BATCHES = 4
"""Micro-batches, about, whose words are encoded at once on a GPU."""


class Labeller(Stage):
    """Entities of one side's words and, when asked for, their tag probabilities.

    Entities that a row has already stay. A word that has no sub-word, because all its characters
    are invisible to the model, is O.
    """

    name: ClassVar[str] = "label"
    room: ClassVar[str | None] = "label"

    def __init__(
        self,
        config: Label,
        side: Literal["source", "target"] = "source",
        *,
        entities_column: str | None = None,
        probabilities: bool = False,
    ) -> None:
        """A labeller of `side`.

        Args:
            config: which model, and how its output is read.
            side: whose `tokens` are labelled.
            entities_column: where entities go; `source_entities` for the source side, and
                `target_labels` for the target side, whose entities come from projection.
            probabilities: whether to fill `{side}_probs` too.
        """
        default = {"source": "source_entities", "target": "target_labels"}
        self.config = config
        self.environment = config.environment
        self.side = side
        self._entities = entities_column or default[side]
        self._probabilities = f"{side}_probs" if probabilities else None
        self.inputs = (f"{side}_tokens",)
        self.outputs = (self._entities, *filter(None, [self._probabilities]))

    def resolved(self) -> Labeller:
        settled = copy.copy(self)
        settled.config = devices.resolve(self.config)
        return settled

    def settings(self) -> dict[str, Any]:
        """As in `Stage`. Settles `auto` on this machine if nobody has; see `resolved`."""
        resources = {"batch_tokens", "device", "environment", "gpu_memory"}
        settings = devices.resolve(self.config).model_dump(mode="json", exclude=resources)
        settings["model"] = checkpoints.identity(self.config.model)
        return {**settings, "inputs": self.inputs, "outputs": self.outputs}

    def classes(self) -> list[str]:
        """The tags whose probabilities `{side}_probs` has, in order; needs no `setup`."""
        return list(read_labels(self.config).tags)

    def fetch(self) -> None:
        checkpoints.fetch(self.config.model, self.config.revision)

    def setup(self, cpus: float | None = None) -> None:
        if cpus is not None:
            devices.use_threads(cpus)
        served = self.config.engine == "vllm"
        self._tagger: Reader = Served(self.config, cpus) if served else Tagger(self.config)
        self._budget = self._tagger.budget
        if self.config.batch_tokens and not served:
            self._budget = self.config.batch_tokens
        self._padding = Padding()
        self._sentences = 0
        self._seconds = 0.0

    @property
    def parameters(self) -> int:
        """Of the model, once `setup` has loaded it."""
        return self._tagger.parameters

    def counters(self) -> Mapping[str, float]:
        return {
            "sentences": self._sentences,
            "tokens": self._padding.tokens,
            "padding": self._padding.padding,
            "seconds": self._seconds,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        started = time.perf_counter()
        tokens = table[self.inputs[0]].combine_chunks()
        counts = np.asarray(pc.fill_null(pc.list_value_length(tokens), 0), np.int64)
        tags = self._tagger.labels.tags
        probabilities = self._words(tokens, counts)
        found = entities(probabilities, counts, tags)
        if self._entities in table.column_names:
            found = pc.coalesce(table[self._entities], found)
        table = record.with_column(table, self._entities, found)
        if self._probabilities:
            column = columns.nested(probabilities.astype(np.float16), counts)
            table = record.with_column(table, self._probabilities, column)
            key = f"projner.classes.{self._probabilities}"
            metadata = {**(table.schema.metadata or {}), key: "\t".join(tags)}
            table = table.replace_schema_metadata(metadata)
        self._sentences += table.num_rows
        self._seconds += time.perf_counter() - started
        return table

    def _words(self, tokens: pa.ListArray, counts: np.ndarray) -> np.ndarray:
        """Tag probabilities of all words, in order: float32 (words, tags)."""
        result = np.empty((int(counts.sum()), len(self._tagger.labels.tags)), np.float32)
        starts = np.cumsum(counts) - counts
        for rows, sub_words in self._encoded(tokens, counts):
            result[ranges(starts[rows], counts[rows])] = self._tag(sub_words, counts[rows])
        return result

    def _encoded(
        self, tokens: pa.ListArray, counts: np.ndarray
    ) -> Iterator[tuple[np.ndarray, SubWords]]:
        """Parts of the rows with their sub-words, each encoded while the one before is used."""
        parts = self._parts(counts)

        def encode(rows: np.ndarray) -> SubWords:
            return self._tagger.encode(pc.fill_null(tokens.take(pa.array(rows)).flatten(), ""))

        return zip(parts, ahead(encode, parts), strict=True)

    def _parts(self, counts: np.ndarray) -> list[np.ndarray]:
        """Rows that are encoded at once: all on a CPU, whose cores encoding and computing share.

        On a GPU, sentences of like lengths, so that packing within parts costs little.
        """
        if self._tagger.device == "cpu":
            return [np.arange(len(counts))]
        return pack(counts, PART_BATCHES * self._budget)

    def _tag(self, sub_words: SubWords, counts: np.ndarray) -> np.ndarray:
        """Tag probabilities of the words of sentences of `counts` words: (words, tags)."""
        tagger, config = self._tagger, self.config
        overlap = (tagger.limit // 4) if config.overlap is None else config.overlap
        windows = cover_all(sub_words.sizes, counts, tagger.limit, overlap)
        before = np.concatenate([[0], np.cumsum(sub_words.sizes)])
        start, end, first, last = before[windows.T]
        lengths = end - start

        def compute(rows: np.ndarray) -> Any:
            return tagger.probabilities(
                sub_words.ids[ranges(start[rows], lengths[rows])],
                lengths[rows],
                first[rows] - start[rows],
                last[rows] - first[rows],
            )

        done = []
        count = self._padding.add if tagger.pads else self._padding.add_bare
        for batch in pack(lengths + tagger.frame.size, self._budget):
            for rows, answer in devices.halving(compute, batch):
                count(lengths[rows] + tagger.frame.size)
                done.append((rows, answer))

        pieces = np.empty((len(sub_words.ids), len(tagger.labels.columns)), np.float32)
        for rows, answer in done:
            pieces[ranges(first[rows], last[rows] - first[rows])] = answer.cpu().numpy()
        if np.isnan(pieces).any():
            raise FloatingPointError("the model's output is not a number; try dtype: float32")
        visible = sub_words.sizes > 0
        words = np.zeros((len(visible), len(tagger.labels.tags)), np.float32)
        words[:, tagger.labels.outside] = 1
        words[visible] = tagger.labels.fold(pool(pieces, sub_words.sizes[visible], config.pooling))
        return words
