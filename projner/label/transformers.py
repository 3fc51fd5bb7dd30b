"""Label probabilities of sub-words by any token classifier of `transformers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from projner import checkpoints, devices, subwords
from projner.batching import ranges
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


class Tagger:
    """A checkpoint, loaded onto its device.

    Raises JobError if it cannot be loaded or its settings do not suit it.
    """

    labels: Labels
    device: str
    frame: Frame
    limit: int
    """Sub-words that fit between the special tokens."""
    parameters: int

    def __init__(self, config: Label) -> None:
        checkpoints.library()
        self.labels = read_labels(config)
        self.device = devices.choose_device(config.device)
        tokenizer = checkpoints.load_tokenizer(config.model, config.revision)
        self._model = checkpoints.load_model(
            "AutoModelForTokenClassification",
            config.model,
            revision=config.revision,
            dtype=devices.choose_dtype(config.dtype, self.device),
            device=self.device,
        )
        self.parameters = sum(weights.numel() for weights in self._model.parameters())
        embeddings = self._model.get_input_embeddings().num_embeddings
        if len(tokenizer) > embeddings:
            raise JobError(
                f"{config.model}: its tokenizer has {len(tokenizer)} sub-words and its weights "
                f"{embeddings}; take both from the same checkpoint"
            )
        self.frame = subwords.frame(tokenizer, config.model)
        own = subwords.limit(self._model, tokenizer)
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

    def probabilities(
        self, ids: np.ndarray, lengths: np.ndarray, firsts: np.ndarray, counts: np.ndarray
    ) -> torch.Tensor:
        """Probabilities (sub-words, labels) as float32 on the device, without waiting for them.

        `ids` are the sub-words of rows of `lengths`; of each row, `counts` sub-words from `firsts`
        on are answered.
        """
        import torch

        grid = subwords.grid(ids, lengths, self.frame)
        mask = np.arange(grid.shape[1]) < (lengths + self.frame.size)[:, None]
        lines = np.arange(len(lengths)) * grid.shape[1] + len(self.frame.prefix)
        with torch.inference_mode():
            logits = self._model(
                input_ids=self._send(grid), attention_mask=self._send(mask.astype(np.int64))
            ).logits
            wanted = self._send(ranges(lines + firsts, counts))
            answers: torch.Tensor = logits.flatten(0, 1)[wanted].float().softmax(-1)
        return answers

    def _send(self, array: np.ndarray) -> torch.Tensor:
        return devices.send(array, self.device)
