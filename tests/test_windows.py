from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner.windows import cover, cover_all

LIMIT = 12
SIZES = st.lists(st.integers(0, LIMIT), min_size=1, max_size=80).map(np.array)
OVERLAP = st.integers(0, LIMIT + 3)


@pytest.mark.parametrize(
    ("sizes", "limit", "overlap", "expected"),
    [
        ([1, 1, 1], 3, 1, [(0, 3, 0, 3)]),
        ([1, 1, 1, 1, 1], 3, 1, [(0, 3, 0, 3), (2, 5, 3, 5)]),
        ([1] * 8, 4, 2, [(0, 4, 0, 3), (2, 6, 3, 5), (4, 8, 5, 8)]),
        ([1] * 6, 3, 0, [(0, 3, 0, 3), (3, 6, 3, 6)]),
        # The next word is so long that the overlap has to give way.
        ([1, 1, 1, 3], 3, 2, [(0, 3, 0, 3), (3, 4, 3, 4)]),
        ([3, 3], 3, 1, [(0, 1, 0, 1), (1, 2, 1, 2)]),
        ([2, 0, 2], 3, 0, [(0, 2, 0, 2), (1, 3, 2, 3)]),
    ],
)
def test_cover(sizes, limit, overlap, expected):
    assert cover(np.array(sizes), limit, overlap).tolist() == [list(row) for row in expected]


@settings(deadline=None)
@given(SIZES, OVERLAP)
def test_every_word_is_answered_for_once_by_a_window_that_fits(sizes, overlap):
    windows = cover(sizes, LIMIT, overlap)
    answered = [word for _, _, first, last in windows for word in range(first, last)]
    assert answered == list(range(len(sizes)))
    for start, end, first, last in windows:
        assert start <= first <= last <= end
        assert sizes[start:end].sum() <= LIMIT
    for left, right in itertools.pairwise(windows):
        assert left[0] < right[0] <= left[1] < right[1]
        assert sizes[right[0] : left[1]].sum() <= overlap


@settings(deadline=None)
@given(SIZES, OVERLAP)
def test_a_word_is_answered_where_it_has_most_context(sizes, overlap):
    windows = cover(sizes, LIMIT, overlap)

    def context(word, start, end):
        # At the sentence's own ends nothing is cut off.
        left = sizes[start:word].sum() if start > 0 else np.inf
        right = sizes[word + 1 : end].sum() if end < len(sizes) else np.inf
        return min(left, right)

    for _, _, first, last in windows:
        mine = next(row for row in windows if row[2] == first and row[3] == last)
        for word in range(first, last):
            every = [context(word, s, e) for s, e, _, _ in windows if s <= word < e]
            assert context(word, mine[0], mine[1]) == max(every)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, LIMIT), max_size=30), max_size=6), OVERLAP)
def test_cover_all_is_cover_of_each(sentences, overlap):
    flat = np.array([size for sentence in sentences for size in sentence], int)
    counts = np.array([len(sentence) for sentence in sentences], int)
    found = sorted(map(tuple, cover_all(flat, counts, LIMIT, overlap).tolist()))
    expected, before = [], 0
    for sentence in sentences:
        if sum(sentence):
            windows = cover(np.array(sentence), LIMIT, overlap)
            expected += [tuple(row) for row in (windows + before).tolist()]
        before += len(sentence)
    assert found == sorted(expected)
