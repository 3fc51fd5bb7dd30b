"""The paired bootstrap: counts against seqeval, and what is and is not more than luck."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.evaluate import bootstrap, f1
from tests.evaluate.test_f1 import TAGS


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=8))
def test_counts_give_the_f1_of_seqeval(sentences: list[tuple[list[str], list[str]]]) -> None:
    gold, predicted = [g for g, _ in sentences], [p for _, p in sentences]
    found = bootstrap.f1(bootstrap.counts(gold, predicted).sum(axis=0))
    assert found == pytest.approx(f1.score(gold, predicted).overall.f1)


def test_gains_are_those_of_resampled_sentences() -> None:
    """Against a plain loop that draws sentences one by one."""
    chance = np.random.default_rng(1)
    gold = chance.integers(0, 3, 60)
    ours = np.stack([np.minimum(gold, chance.integers(0, 4, 60)), gold, gold], axis=1)
    theirs = np.stack([np.minimum(gold, chance.integers(0, 3, 60)), gold, gold], axis=1)
    gains = []
    for _ in range(4000):
        drawn = chance.integers(0, 60, 60)
        ours_f1, theirs_f1 = (
            2 * counts[drawn, 0].sum() / counts[drawn, 1:].sum() for counts in (ours, theirs)
        )
        gains.append(ours_f1 - theirs_f1)
    found = bootstrap.paired(ours, theirs, samples=4000)
    low, high = np.quantile(gains, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert found.p == pytest.approx(np.mean(np.array(gains) <= 0), abs=0.03)
    assert 0 < found.p < 0.5


def test_an_interval_is_that_of_resampled_sentences() -> None:
    """Against a plain loop that draws sentences one by one."""
    chance = np.random.default_rng(2)
    gold, guessed = chance.integers(0, 4, (2, 25))
    counts = np.stack([np.minimum(gold, guessed), guessed, gold], axis=1)
    drawn = [counts[chance.integers(0, 25, 25)].sum(axis=0) for _ in range(4000)]
    expected = np.quantile([2 * right / (both + of) for right, both, of in drawn], [0.025, 0.975])
    found = bootstrap.interval(counts, samples=4000)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.015)
    assert 0 < found.low < bootstrap.f1(counts.sum(axis=0)) < found.high <= 1


def sentences(right: int, of: int) -> bootstrap.Counts:
    return np.array([(int(row < right), 1, 1) for row in range(of)])


def test_a_clear_gain_is_no_luck_and_a_small_one_may_be() -> None:
    assert bootstrap.paired(sentences(90, 100), sentences(60, 100)).p < 0.001
    assert bootstrap.paired(sentences(61, 100), sentences(60, 100)).p > 0.1
    same = bootstrap.paired(sentences(60, 100), sentences(60, 100))
    assert (same.gain, same.p) == (0, 1)


def test_the_same_sentences_are_drawn_for_both() -> None:
    """Two methods that differ in sentences of their own, not in luck: a gain in each of ten."""
    ours, theirs = sentences(60, 100), sentences(50, 100)
    paired = bootstrap.paired(ours, theirs)
    shuffled = bootstrap.paired(ours, np.roll(theirs, 50, axis=0))
    assert paired.high - paired.low < (shuffled.high - shuffled.low) / 2
    assert paired.p < shuffled.p
