"""How far methods agree: what can be said of them where there is no gold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Spans = npt.NDArray[np.int64]
"""(n, 4): row, start, end and class of each labelled span, in numbers; no span twice."""
Floats = npt.NDArray[np.float64]


def pairwise(methods: Sequence[Spans]) -> Floats:
    """Exact-span F1 of each method against each other one: (m, m), symmetric, 1 on the diagonal.

    Two methods that label nothing agree.
    """
    held = _held(methods).astype(np.float64)
    sizes = held.sum(axis=0)
    return _f1(held.T @ held, sizes[:, None] + sizes[None, :])


def with_majority(methods: Sequence[Spans]) -> Floats:
    """Exact-span F1 (m,) of each method against the spans that more than half of all have.

    No two of those overlap, for some method would have both.
    """
    held = _held(methods)
    by_most = held.sum(axis=1) * 2 > len(methods)
    return _f1(held[by_most].sum(axis=0), held.sum(axis=0) + by_most.sum())


def _held(methods: Sequence[Spans]) -> npt.NDArray[np.bool_]:
    """Which method (column) has which of the distinct spans (row)."""
    together = np.concatenate([*methods, np.zeros((0, 4), np.int64)])
    code = np.zeros(len(together), np.int64)
    for column in together.T:
        code = code * (column.max(initial=0) + 1) + column
    distinct, which = np.unique(code, return_inverse=True)
    held = np.zeros((len(distinct), len(methods)), bool)
    held[which, np.repeat(np.arange(len(methods)), [len(spans) for spans in methods])] = True
    return held


def _f1(right: npt.NDArray[Any], both: npt.NDArray[Any]) -> Floats:
    return np.where(both > 0, 2 * right / np.maximum(both, 1), 1.0)
