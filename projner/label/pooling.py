"""From the label probabilities of sub-words to those of words."""

from __future__ import annotations

from typing import Literal

import numpy as np

Pooling = Literal["first", "mean", "max"]


def pool(probabilities: np.ndarray, sizes: np.ndarray, how: Pooling) -> np.ndarray:
    """Word probabilities (words, labels) from those of sub-words (sub-words, labels).

    Word n has the next `sizes[n]` sub-words, at least one. `first`: the first sub-word's
    probabilities; `mean`: their mean; `max`: those of the sub-word that is surest of its label. The
    strategies are those of transformers' own pipeline.
    """
    starts = np.cumsum(sizes) - sizes
    if how == "mean" and len(sizes):
        means: np.ndarray = np.add.reduceat(probabilities, starts) / sizes[:, None]
        return means.astype(probabilities.dtype)
    chosen = starts
    if how == "max" and len(sizes):
        certainty = probabilities.max(axis=1)
        surest = certainty == np.repeat(np.maximum.reduceat(certainty, starts), sizes)
        positions = np.where(surest, np.arange(len(surest)), len(surest))
        chosen = np.minimum.reduceat(positions, starts)
    pooled: np.ndarray = probabilities[chosen]
    return pooled
