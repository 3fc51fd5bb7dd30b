"""Label probabilities of sub-words by any token classifier of `transformers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from projner import checkpoints, devices, subwords
from projner.batching import ranges
from projner.config import Label
from projner.label.reader import Reader

if TYPE_CHECKING:
    import torch

CPU_TOKENS = 1024
"""A micro-batch that stays in a CPU's caches; larger ones are slower."""
GPU_TOKENS = 16_384


class Tagger(Reader):
    """A checkpoint, loaded onto its device."""

    def __init__(self, config: Label) -> None:
        """Raises JobError if it cannot be loaded or its settings do not suit it."""
        checkpoints.library()
        self.device = devices.choose_device(config.device)
        self.budget = CPU_TOKENS if self.device == "cpu" else GPU_TOKENS
        self._model = checkpoints.load_model(
            "AutoModelForTokenClassification",
            config.model,
            revision=config.revision,
            dtype=devices.choose_dtype(config.dtype, self.device),
            device=self.device,
        )
        super().__init__(config, self._model)

    def probabilities(
        self, ids: np.ndarray, lengths: np.ndarray, firsts: np.ndarray, counts: np.ndarray
    ) -> torch.Tensor:
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
