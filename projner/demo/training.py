"""What the training of the toy models has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 512
LEARNING_RATE = 6e-3
IGNORED = -100
"""The label of what no loss is computed for."""


@contextmanager
def settled(seed: int) -> Iterator[None]:
    """One thread, because so small a model is slower on several, and random numbers from `seed`."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def fit(
    model: torch.nn.Module,
    loss: Callable[[np.ndarray], torch.Tensor],
    lengths: np.ndarray,
    *,
    steps: int,
    seed: int = 0,
) -> None:
    """Lower `loss(rows)` over batches of rows of like length for a number of steps.

    `lengths` are the sub-words of each row; a batch has about `BATCH_TOKENS`. Leaves the model ready
    to predict.
    """
    import torch

    chance = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    model.train()
    step = 0
    while step < steps:
        for rows in _batches(lengths, chance)[: steps - step]:
            loss(rows).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            step += 1
    model.eval()


def pad(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    """Rows of unequal length as one tensor (rows, longest)."""
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])


def _batches(lengths: np.ndarray, chance: np.random.Generator) -> list[np.ndarray]:
    """All rows once, in batches of rows of like length, at random."""
    order = np.argsort(lengths + chance.uniform(0, 4, len(lengths)))
    filled = np.cumsum(lengths[order]) // BATCH_TOKENS
    batches = np.split(order, np.flatnonzero(np.diff(filled)) + 1)
    return [batches[n] for n in chance.permutation(len(batches))]
