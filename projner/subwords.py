"""Sub-words of many words, kept flat, and the padded grids that a model reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from projner.batching import ranges
from projner.errors import JobError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class SubWords:
    """The sub-words of words that stand one after the other."""

    ids: np.ndarray
    """Vocabulary ids, word after word."""
    sizes: np.ndarray
    """How many sub-words each word has; 0 for words of invisible characters."""


@dataclass(frozen=True)
class Frame:
    """What surrounds the sub-words of a sentence, and what fills up shorter ones."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pad: int

    @property
    def size(self) -> int:
        """How many special tokens a sentence gets."""
        return len(self.prefix) + len(self.suffix)


def encode(words: pa.StringArray, tokenizer: Tokenizer, limit: int) -> SubWords:
    """The sub-words of every word, the first `limit` of each.

    A tokenizer that is given words looks at each on its own, so each distinct word is given to it
    once.
    """
    distinct = words.dictionary_encode()
    texts = distinct.dictionary.to_pylist()
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    vocabulary = [encoding.ids[:limit] for encoding in encodings]
    sizes = np.fromiter(map(len, vocabulary), np.int64, len(vocabulary))
    ids = np.fromiter(chain.from_iterable(vocabulary), np.int64, int(sizes.sum()))
    word = np.asarray(distinct.indices)
    starts = np.cumsum(sizes) - sizes
    return SubWords(ids[ranges(starts[word], sizes[word])], sizes[word])


def grid(ids: np.ndarray, lengths: np.ndarray, frame: Frame) -> np.ndarray:
    """`ids`, cut into rows of `lengths`, each within its frame and padded at its end."""
    rows = np.full((len(lengths), int(lengths.max()) + frame.size), frame.pad)
    rows[:, : len(frame.prefix)] = frame.prefix
    cells, line = rows.reshape(-1), np.arange(len(lengths)) * rows.shape[1] + len(frame.prefix)
    cells[ranges(line, lengths)] = ids
    for place, special in enumerate(frame.suffix):
        cells[line + lengths + place] = special
    return rows


def frame(tokenizer: Any, model: str) -> Frame:
    """The special tokens around a sentence, read off the tokenizer's own output.

    Raises JobError naming `model` where they are more than tokens before and after it.
    """
    encoding = tokenizer(
        ["a"], is_split_into_words=True, return_special_tokens_mask=True, return_token_type_ids=True
    )
    special = np.array(encoding["special_tokens_mask"], bool)
    ids = np.array(encoding["input_ids"])
    if any(encoding["token_type_ids"]) or special.all():
        raise JobError(f"{model}: marks its special tokens in an unusual way; choose another model")
    first, last = np.flatnonzero(~special)[[0, -1]]
    return Frame(
        prefix=tuple(ids[:first].tolist()),
        suffix=tuple(ids[last + 1 :].tolist()),
        pad=tokenizer.pad_token_id or 0,
    )


def limit(model: Any, tokenizer: Any) -> int:
    """The sub-words, special ones included, that a model reads at once."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            # RoBERTa and its kin count positions from the padding index on.
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            return min(int(tokenizer.model_max_length), int(module.num_embeddings) - reserved)
    positions = int(getattr(model.config, "max_position_embeddings", 512))
    return min(int(tokenizer.model_max_length), positions)
