from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.translate import constrained
from projner.translate.constrained import LEAST, PLAIN, Search

ENGLISH, SWAHILI = "eng_Latn", "swh_Latn"
EXACT = {"device": "cpu", "dtype": "float32", "beam_size": 1}


@st.composite
def problems(draw) -> tuple[list[int], list[list[int]], list[tuple[int, int]]]:
    """Sub-words of a translation, and with markers (1 and 2) around each of some spans."""
    plain = draw(st.lists(st.integers(3, 5), min_size=1, max_size=7))
    every = [(a, b) for a in range(len(plain)) for b in range(a + 1, len(plain) + 1)]
    spans = draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    return plain, [[*plain[:a], 1, *plain[a:b], 2, *plain[b:]] for a, b in spans], spans


def _model(seed: int, peaked: float):
    """A language model by chance: the log-probabilities of a sequence's items and its end's."""

    def scores(ids: list[int]) -> np.ndarray:
        values = []
        for place, wanted in enumerate([*ids, 0]):
            chance = np.random.default_rng([seed, *ids[:place]])
            values.append(np.log(chance.dirichlet(np.full(6, peaked)) + 1e-9)[wanted])
        return np.array(values)

    return scores


@given(
    problem=problems(),
    seed=st.integers(0, 999),
    peaked=st.sampled_from([0.05, 0.3, 1, 10]),
    at_once=st.integers(1, 5),
)
def test_the_search_finds_what_scoring_every_span_finds(problem, seed, peaked, at_once) -> None:
    plain, marked, spans = problem
    scores = _model(seed, peaked)
    starts, ends = np.array(spans).T
    search = Search(plain, marked, starts, ends)
    scored = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constrained, "AT_ONCE", at_once)
        while asked := search.next():
            assert len(asked) <= at_once
            for span in asked:
                search.learn(span, scores(plain if span == PLAIN else marked[span]))
            scored += asked
    assert len(set(scored)) == len(scored)
    every = np.array([scores(ids).sum() for ids in marked])
    kept = every >= every.max() + np.log(LEAST)
    expected = np.where(kept, np.exp(every - every.max()), 0)
    np.testing.assert_allclose(search.probabilities(), expected / expected.sum(), atol=1e-12)


def test_the_search_scores_few_spans_where_one_is_clear() -> None:
    plain = [3, 4, 5] * 6
    spans = [(a, b) for a in range(18) for b in range(a + 1, 19)]
    marked = [[*plain[:a], 1, *plain[a:b], 2, *plain[b:]] for a, b in spans]
    wanted = [*plain[:7], 1, *plain[7:9], 2, *plain[9:], 0]

    def scores(ids: list[int]) -> np.ndarray:
        # One who knows where the markers belong, and follows whoever puts them elsewhere.
        right = [a == b for a, b in zip([*ids, 0], wanted, strict=False)]
        good = np.cumprod([*right, *[False] * (len(ids) + 1 - len(right))]).astype(bool)
        first = np.flatnonzero(~good)[:1]
        values = np.full(len(ids) + 1, -0.01)
        values[first] = -8.0
        return values

    search = Search(plain, marked, *np.array(spans).T)
    count = 0
    while asked := search.next():
        count += len(asked)
        for span in asked:
            search.learn(span, scores(plain if span == PLAIN else marked[span]))
    assert spans[int(search.probabilities().argmax())] == (7, 9)
    assert len(spans) == 171
    assert count < 20


def test_nothing_to_search() -> None:
    search = Search([3, 4], [], np.array([], int), np.array([], int))
    assert search.next() == []
    assert search.probabilities().tolist() == []
