from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner.batching import WASTE, Padding, ahead, pack, ranges

LENGTHS = st.lists(st.integers(0, 200), max_size=60).map(lambda lengths: np.array(lengths, int))


@pytest.mark.parametrize(
    ("lengths", "budget", "max_rows", "expected"),
    [
        ([], 10, None, []),
        ([3], 10, None, [[0]]),
        ([1, 3, 2], 100, None, [[1, 2, 0]]),
        ([5, 5, 5, 5], 10, None, [[0, 1], [2, 3]]),
        ([4, 50, 4], 10, None, [[1], [0, 2]]),
        ([2, 2, 2, 2], 100, 3, [[0, 1, 2], [3]]),
        ([0, 0], 1, None, [[0], [1]]),
        # Two more rows would fit, but nearly all of them would be padding.
        ([30, 1, 1], 96, None, [[0], [1, 2]]),
        ([5, 1], 96, None, [[0], [1]]),
        ([4, 1], 96, None, [[0, 1]]),
    ],
)
def test_pack(lengths, budget, max_rows, expected):
    batches = pack(np.array(lengths, int), budget, max_rows)
    assert [batch.tolist() for batch in batches] == expected


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 400), st.none() | st.integers(1, 8))
def test_pack_keeps_its_promises(lengths, budget, max_rows):
    batches = pack(lengths, budget, max_rows)
    assert sorted(np.concatenate([[], *batches]).tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = lengths[batch].max()
        assert len(batch) >= 1
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert len(batch) * longest - lengths[batch].sum() <= budget * WASTE
        assert max_rows is None or len(batch) <= max_rows
    order = np.concatenate([np.zeros(0, int), *batches])
    assert order.tolist() == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))


@settings(deadline=None)
@given(LENGTHS, st.randoms(use_true_random=False), st.integers(1, 400), st.none() | st.just(8))
def test_pack_pads_each_side_by_itself(lengths, chance, budget, max_rows):
    sides = np.array([lengths, [chance.randint(0, 9) for _ in lengths]]).T
    batches = pack(sides, budget, max_rows)
    for batch in batches:
        padded = len(batch) * sides[batch].max(axis=0).sum()
        assert len(batch) == 1 or padded <= budget
        assert padded - sides[batch].sum() <= budget * WASTE
        assert max_rows is None or len(batch) <= max_rows
        padding = Padding()
        padding.add(sides[batch])
        assert (padding.tokens, padding.padding) == (
            sides[batch].sum(),
            padded - sides[batch].sum(),
        )
    order = np.concatenate([np.zeros(0, int), *batches])
    assert order.tolist() == sorted(range(len(sides)), key=lambda n: (*-sides[n, ::-1], n))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=20))
def test_ranges(pairs):
    starts, sizes = np.array(pairs, int).reshape(-1, 2).T
    expected = [position for start, size in pairs for position in range(start, start + size)]
    assert ranges(starts, sizes).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 5])
def test_ahead_keeps_order(count):
    assert list(ahead(lambda item: item * 2, range(count))) == [item * 2 for item in range(count)]


def test_ahead_makes_the_next_while_the_current_is_used():
    made = {item: threading.Event() for item in range(3)}
    for item in ahead(lambda item: made[item].set() or item, range(3)):
        # At the first item, the second must come without being asked for; and so on.
        assert made[min(item + 1, 2)].wait(timeout=30)


def test_ahead_raises_what_making_raised():
    results = ahead(lambda item: 1 // item, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_padding_counts_tokens_and_padding():
    padding = Padding()
    assert padding.share == 0
    padding.add(np.array([4, 2]))
    padding.add(np.array([3]))
    padding.add(np.array([], int))
    assert (padding.tokens, padding.padding) == (9, 2)
    assert padding.share == pytest.approx(2 / 11)
