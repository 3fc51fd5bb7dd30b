"""What every engine has of a token classifier: its labels, its tokenizer, and how much it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from projner import checkpoints, subwords
from projner.config import Label
from projner.errors import JobError
from projner.label.decode import Labels
from projner.subwords import Frame, SubWords

if TYPE_CHECKING:
    import torch


def read_labels(config: Label) -> Labels:
    """The tags of the checkpoint; reads its configuration alone.

    Raises JobError where its labels are no tags.
    """
    id2label = checkpoints.load_config(config.model, config.revision).id2label
    try:
        return Labels.read([id2label[n] for n in sorted(id2label)], config.rename, config.ignore)
    except ValueError as error:
        raise JobError(f"{config.model}: {error}") from None


class Reader(ABC):
    """A checkpoint that gives sub-words the probabilities of its labels."""

    labels: Labels
    device: str
    frame: Frame
    limit: int
    """Sub-words that fit between the special tokens."""
    parameters: int
    budget: int
    """Sub-words of a micro-batch, where nobody says."""
    pads: bool = True
    """Whether the rows of a micro-batch are padded to its longest."""

    def __init__(self, config: Label, model: Any) -> None:
        """A reader for `model`, a module of `transformers` with or without its weights.

        Raises JobError if the tokenizer does not suit it, or the settings do not.
        """
        self.labels = read_labels(config)
        self.parameters = sum(weights.numel() for weights in model.parameters())
        tokenizer = checkpoints.load_tokenizer(config.model, config.revision)
        embeddings = model.get_input_embeddings().num_embeddings
        if len(tokenizer) > embeddings:
            raise JobError(
                f"{config.model}: its tokenizer has {len(tokenizer)} sub-words and its weights "
                f"{embeddings}; take both from the same checkpoint"
            )
        self.frame = subwords.frame(tokenizer, config.model)
        own = subwords.limit(model, tokenizer)
        if config.max_tokens is not None and config.max_tokens > own:
            raise JobError(
                f"{config.model}: reads {own} sub-words at once, fewer than max_tokens "
                f"({config.max_tokens}); leave max_tokens out"
            )
        self.limit = (config.max_tokens or own) - self.frame.size
        self._tokenizer = tokenizer.backend_tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, words: pa.StringArray) -> SubWords:
        """The sub-words of every word."""
        return subwords.encode(words, self._tokenizer, self.limit)

    @abstractmethod
    def probabilities(
        self, ids: np.ndarray, lengths: np.ndarray, firsts: np.ndarray, counts: np.ndarray
    ) -> torch.Tensor:
        """Probabilities (sub-words, labels) as float32 on the device, perhaps without waiting for them.

        `ids` are the sub-words of rows of `lengths`; of each row, `counts` sub-words from `firsts`
        on are answered.
        """
