"""Examples as a training step has them: flat arrays, and the padded grids of its parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import batching
from projner.columns import lists


@dataclass(frozen=True)
class Batch:
    """Examples as flat arrays: of each row its sub-words, and of each labelled word what is known."""

    ids: np.ndarray
    lengths: np.ndarray
    words: np.ndarray
    counts: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    soft: np.ndarray
    """Which words have probabilities, that they are learnt from instead of the label."""
    probs: np.ndarray
    """One row for each of these."""
    pad: int

    @classmethod
    def of(cls, table: pa.Table, pad: int) -> Batch:
        """The examples of a table of `examples.SCHEMA`."""
        known = {name: lists(table[name]) for name in ("ids", "words", "labels", "weights")}
        flat = {
            name: pc.list_flatten(table[name].combine_chunks()).to_numpy(zero_copy_only=False)
            for name in known
        }
        counts = np.diff(known["words"].offsets)
        given = table["probs"].combine_chunks()
        soft = np.repeat(np.asarray(given.is_valid()), counts)
        probs = np.asarray(pc.list_flatten(given), np.float32)
        return cls(
            ids=flat["ids"],
            lengths=np.diff(known["ids"].offsets),
            words=flat["words"],
            counts=counts,
            labels=flat["labels"].astype(np.int64),
            weights=flat["weights"],
            soft=soft,
            probs=probs.reshape(int(soft.sum()), -1)
            if soft.any()
            else np.empty((0, 0), np.float32),
            pad=pad,
        )

    def part(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of some rows: padded sub-words and their mask; of every labelled word its cell in that grid,
        its label, its weight, and whether it is soft; and the probabilities of those that are."""
        lengths, counts = self.lengths[rows], self.counts[rows]
        width = int(lengths.max())
        grid = np.full((len(rows), width), self.pad, np.int64)
        lines = np.arange(len(rows)) * width
        first = np.cumsum(self.lengths) - self.lengths
        cells = grid.reshape(-1)
        cells[batching.ranges(lines, lengths)] = self.ids[batching.ranges(first[rows], lengths)]
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        first_word = np.cumsum(self.counts) - self.counts
        chosen = batching.ranges(first_word[rows], counts)
        places = np.repeat(lines, counts) + self.words[chosen]
        soft = self.soft[chosen]
        probs = self.probs[(np.cumsum(self.soft) - 1)[chosen[soft]]]
        return grid, mask, places, self.labels[chosen], self.weights[chosen], soft, probs
