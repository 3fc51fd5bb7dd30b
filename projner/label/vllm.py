"""Label probabilities of sub-words by vLLM, which serves some token classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from projner import checkpoints, serving
from projner.config import Label
from projner.label.reader import Reader

if TYPE_CHECKING:
    import torch


class Served(Reader):
    """A checkpoint that vLLM serves. It makes micro-batches itself, of whatever it is given at once."""

    budget = 1 << 40
    pads = False

    def __init__(self, config: Label, cpus: float | None = None) -> None:
        """`cpus`: how many it may keep busy.

        Raises JobError if it cannot be loaded or its settings do not suit it.
        """
        serving.library(cpus)
        import torch

        loaded = checkpoints.load_config(config.model, config.revision)
        instead = "use engine transformers"
        serving.refuse_unserved(config.model, loaded, instead, "ForTokenClassification")
        # Without weights: how much the model reads at once is told by its layers.
        with torch.device("meta"):
            shape = checkpoints.library().AutoModelForTokenClassification.from_config(loaded)
        super().__init__(config, shape)
        self.device = serving.device(config.device)
        longest = self.limit + self.frame.size
        most = {}
        if config.batch_tokens is not None:
            most = {"max_num_batched_tokens": max(longest, config.batch_tokens)}
        # Probabilities are made here, in float32 whatever the model computes in.
        self._wanted = serving.library().PoolingParams(task="token_classify", use_activation=False)
        nothing = [[*self.frame.prefix, *self.frame.suffix]]

        def attempt(llm: Any) -> object:
            return self._encode(llm, nothing)

        self._llm = serving.start(config, "pooling", longest, cpus, attempt, **most)

    def probabilities(
        self, ids: np.ndarray, lengths: np.ndarray, firsts: np.ndarray, counts: np.ndarray
    ) -> torch.Tensor:
        import torch

        prefix, suffix = self.frame.prefix, self.frame.suffix
        rows = np.split(ids, np.cumsum(lengths)[:-1])
        prompts = [[*prefix, *row.tolist(), *suffix] for row in rows]
        with serving.alive():
            answers = self._encode(self._llm, prompts)
        first = len(prefix) + firsts
        found = [
            answer.outputs.data[start : start + count]
            for answer, start, count in zip(answers, first.tolist(), counts.tolist(), strict=True)
        ]
        return torch.cat(found).float().softmax(-1)

    def _encode(self, llm: Any, prompts: Sequence[list[int]]) -> list[Any]:
        answers: list[Any] = llm.encode(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            pooling_params=self._wanted,
            pooling_task="token_classify",
            use_tqdm=False,
        )
        return answers
