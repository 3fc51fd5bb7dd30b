"""Micro-batches within a token budget, for rows of unequal length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Made = TypeVar("Made")


WASTE = 1 / 32
"""The share of the budget that the padding of a micro-batch may take."""


def pack(
    lengths: np.ndarray, budget: int, max_rows: int | None = None, max_waste: float = WASTE
) -> list[np.ndarray]:
    """Row indices of each micro-batch, rows of like length together.

    In every batch, rows * longest <= `budget`; a row longer than that stands alone. A batch also
    ends where padding would exceed `max_waste` of the budget. The longest rows come first, so that too
    large a budget shows at once. Rows of equal length keep their order.

    `lengths` (rows,) may also be (rows, sides), where each side is padded by itself; rows go by the
    last side first.
    """
    sides = np.asarray(lengths)
    sides = sides[:, None] if sides.ndim == 1 else sides
    order = np.lexsort(-sides.T)
    ordered = sides[order]
    batches = []
    start = 0
    while start < len(order):
        most = max(1, min(budget // max(1, int(ordered[start].sum())), max_rows or budget))
        window = ordered[start : start + most]
        padded = np.maximum.accumulate(window).sum(axis=1) * np.arange(1, len(window) + 1)
        wasted = padded - np.cumsum(window.sum(axis=1))
        fitting = int(((padded <= budget) & (wasted <= budget * max_waste)).sum())
        end = start + max(1, fitting)
        batches.append(order[start:end])
        start = end
    return batches


def ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The indices `start, ..., start + size - 1` of every pair, one after the other."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(np.sum(sizes)))


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`make(item)` of each item, in order, the next one made in a thread while this one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        begun = (pool.submit(make, item) for item in items)
        current = next(begun, None)
        while current is not None:
            made = current.result()
            current = next(begun, None)
            yield made


@dataclass
class Padding:
    """What a model was given: real tokens, and the padding that came with them."""

    tokens: int = 0
    padding: int = 0

    def add(self, lengths: np.ndarray) -> None:
        """Count a micro-batch of rows of these lengths, as `pack` takes them."""
        tokens = int(np.sum(lengths))
        self.tokens += tokens
        self.padding += len(lengths) * int(np.max(lengths, axis=0, initial=0).sum()) - tokens

    def add_bare(self, lengths: np.ndarray) -> None:
        """Count rows of these lengths that were not padded."""
        self.tokens += int(np.sum(lengths))

    @property
    def share(self) -> float:
        """The share of padding in all that was computed, in [0, 1)."""
        return self.padding / max(1, self.tokens + self.padding)
