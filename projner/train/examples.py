"""From labelled words to what a model reads: sub-words, and where each labelled word begins.

An example is one window over a sentence (most sentences are one), as columns of lists:

| column | |
|---|---|
| `ids` | sub-words with special tokens |
| `words` | the position in `ids` of each word's first sub-word, as is usual (Devlin et al. 2019) |
| `labels` | the label of each of these words |
| `weights` | what each of these words counts in the loss |
| `probs` | label probabilities of each of these words, row after row; null where there are none |

A word that has no sub-word is in no example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import checkpoints, subwords
from projner.batching import ranges
from projner.subwords import Frame
from projner.windows import cover_all

SCHEMA = pa.schema(
    [
        ("ids", pa.list_(pa.int32())),
        ("words", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("weights", pa.list_(pa.float32())),
        ("probs", pa.list_(pa.float16())),
    ]
)


@dataclass(frozen=True)
class Reading:
    """How a model reads words: its tokenizer, by checkpoint, and how much it reads at once."""

    model: str
    revision: str | None
    limit: int
    """Sub-words of a window, without the special ones."""
    labels: tuple[str, ...]
    """The tags that it tells apart, in the order of its outputs."""

    def tokenizer(self) -> Any:
        """The tokenizer, which neither cuts nor pads."""
        tokenizer: Any = checkpoints.load_tokenizer(self.model, self.revision)
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        return tokenizer


def encode(table: pa.Table, reading: Reading, tokenizer: Any) -> pa.Table:
    """The examples (`SCHEMA`) of sentences with the columns `tokens`, `tags`, `weights`, `probs`.

    `tags` are among the labels; where they are null a word counts as O, and `probs`, (words, labels)
    row after row, say more. Windows of a long sentence share a quarter of what the model reads.
    """
    frame = subwords.frame(tokenizer, reading.model)
    tokens = table["tokens"].combine_chunks()
    counts = np.asarray(pc.fill_null(pc.list_value_length(tokens), 0), np.int64)
    pieces = subwords.encode(pc.list_flatten(tokens), tokenizer.backend_tokenizer, reading.limit)
    labels = _labels(table["tags"].combine_chunks(), counts, reading.labels)
    weights = _flat(table["weights"], counts, 1.0).astype(np.float32)
    windows = cover_all(pieces.sizes, counts, reading.limit, reading.limit // 4)
    before = np.concatenate([[0], np.cumsum(pieces.sizes)])

    starts, ends = before[windows[:, 0]], before[windows[:, 1]]
    lengths = ends - starts
    ids = framed(pieces.ids[ranges(starts, lengths)], lengths, frame)

    answered = windows[:, 3] - windows[:, 2]
    word = ranges(windows[:, 2], answered)
    window = np.repeat(np.arange(len(windows)), answered)
    visible = pieces.sizes[word] > 0
    word, window = word[visible], window[visible]
    positions = before[word] - starts[window] + len(frame.prefix)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(window, minlength=len(windows)))])

    columns = [
        ids,
        _lists(positions.astype(np.int32), offsets),
        _lists(labels[word].astype(np.int32), offsets),
        _lists(weights[word], offsets),
        _probabilities(table["probs"].combine_chunks(), counts, windows, word, offsets, reading),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _labels(tags: pa.ListArray, counts: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The label of every word of all sentences, O where a sentence has no tags."""
    outside = labels.index("O")
    flat = np.full(int(counts.sum()), outside, np.int64)
    tagged = np.repeat(np.asarray(tags.is_valid()), counts)
    found = pc.index_in(pc.list_flatten(tags), pa.array(labels))
    flat[tagged] = np.asarray(found.fill_null(outside))
    return flat


def _flat(column: pa.ChunkedArray, counts: np.ndarray, default: float) -> np.ndarray:
    """A column of lists of floats, one value a word, `default` in rows that are null."""
    array = column.combine_chunks()
    values = np.full(int(counts.sum()), default)
    given = np.repeat(np.asarray(array.is_valid()), counts)
    values[given] = pc.list_flatten(array).to_numpy(zero_copy_only=False)
    return values


def framed(ids: np.ndarray, lengths: np.ndarray, frame: Frame) -> pa.ListArray:
    """`ids`, cut into lists of `lengths`, each within its frame."""
    offsets = np.concatenate([[0], np.cumsum(lengths + frame.size)])
    cells = np.empty(offsets[-1], np.int32)
    begins = offsets[:-1]
    for place, special in enumerate(frame.prefix):
        cells[begins + place] = special
    cells[ranges(begins + len(frame.prefix), lengths)] = ids
    for place, special in enumerate(frame.suffix):
        cells[begins + len(frame.prefix) + lengths + place] = special
    return _lists(cells, offsets)


def _probabilities(
    column: pa.ListArray,
    counts: np.ndarray,
    windows: np.ndarray,
    word: np.ndarray,
    offsets: np.ndarray,
    reading: Reading,
) -> pa.ListArray:
    """Probabilities of the words of each window, null for windows over sentences without any."""
    width = len(reading.labels)
    given = np.asarray(column.is_valid())
    if not given.any():
        return pa.nulls(len(windows), SCHEMA.field("probs").type)
    rows = np.zeros((int(counts.sum()), width), np.float16)
    flat = pc.list_flatten(pc.list_flatten(column))
    rows[np.repeat(given, counts)] = np.asarray(flat).reshape(-1, width)
    sentence = np.searchsorted(np.cumsum(counts), windows[:, 0], side="right")
    return pa.ListArray.from_arrays(
        pa.array((offsets * width).astype(np.int32)),
        pa.array(rows[word].reshape(-1)),
        mask=pa.array(~given[sentence]),
    )


def _lists(values: np.ndarray, offsets: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))
