from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner.label.pooling import pool


def _naive(rows, how):
    if how == "first":
        return rows[0]
    if how == "mean":
        return np.mean(rows, axis=0)
    return max(rows, key=lambda row: row.max())


@pytest.mark.parametrize("how", ["first", "mean", "max"])
@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 5), max_size=30), seed=st.integers(0, 99))
def test_pool_equals_a_loop_over_words(how, sizes, seed):
    # Few distinct values, so that words have several sub-words that are equally sure.
    rows = np.random.default_rng(seed).integers(0, 4, (sum(sizes), 3)).astype(np.float32)
    pooled = pool(rows, np.array(sizes, int), how)
    assert pooled.shape == (len(sizes), 3)
    assert pooled.dtype == np.float32
    ends = np.cumsum(sizes, dtype=int)
    for word, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        np.testing.assert_allclose(pooled[word], _naive(rows[end - size : end], how), rtol=1e-6)
