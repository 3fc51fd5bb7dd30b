from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.project import candidates
from projner.project.match import solve
from projner.project.scores import align, align_gap


def as_list(spans):
    return list(zip(spans[0].tolist(), spans[1].tolist(), strict=True))


def pairs(values):
    return np.array(values, np.int32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("n_words", "max_words", "expected"),
    [
        (0, 10, []),
        (0, None, []),
        (1, 10, [(0, 1)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
        (3, 2, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]),
        (3, None, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
    ],
)
def test_ngrams(n_words, max_words, expected):
    spans = candidates.ngrams(n_words, max_words)
    assert as_list(spans) == expected
    assert spans[0].dtype == spans[1].dtype == np.int32


@pytest.mark.parametrize(
    ("entities", "links", "max_words", "expected"),
    [
        ([], [(0, 0)], None, []),
        ([(0, 1)], [], None, []),
        ([(0, 1)], [(1, 2)], None, []),
        ([(0, 2)], [(0, 4), (1, 1)], None, [(1, 2), (1, 5), (4, 5)]),
        ([(0, 2)], [(0, 4), (1, 1)], 3, [(1, 2), (4, 5)]),
        ([(0, 1), (1, 2)], [(0, 0), (1, 2)], None, [(0, 1), (2, 3)]),
        ([(0, 1), (1, 2)], [(0, 0), (0, 2), (1, 2)], None, [(0, 1), (0, 3), (2, 3)]),
    ],
)
def test_linked(entities, links, max_words, expected):
    assert as_list(candidates.linked(pairs(entities), pairs(links), 5, max_words)) == expected


@st.composite
def problems(draw):
    n_source, n_target = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    cuts = sorted(draw(st.sets(st.integers(0, n_source), max_size=4)))
    entities = list(pairwise(cuts))
    link = st.tuples(st.integers(0, n_source - 1), st.integers(0, n_target - 1))
    return pairs(entities), pairs(sorted(draw(st.sets(link, max_size=10)))), n_target


@given(problems(), st.sampled_from([1, 2, 4, None]), st.sampled_from([align, align_gap]))
def test_matching_loses_nothing_without_the_other_spans(problem, max_words, score):
    entities, links, n_target = problem
    results = []
    for spans in (
        candidates.ngrams(n_target, max_words),
        candidates.linked(entities, links, n_target, max_words),
    ):
        matching = solve(score(entities, links, n_target, spans), *spans)
        results.append(
            (matching.objective, [(e, spans[0][c], spans[1][c]) for e, c in matching.pairs])
        )
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("found", "max_words", "expected"),
    [
        ([], None, []),
        # By start, then by end; what two labels share is there once.
        ([(2, 4), (0, 1), (0, 3), (2, 4)], None, [(0, 1), (0, 3), (2, 4)]),
        ([(0, 3), (3, 4)], 2, [(3, 4)]),
    ],
)
def test_seen(found, max_words, expected):
    spans = candidates.seen(pairs(found), 4, max_words)
    assert as_list(spans) == expected
    assert spans[0].dtype == spans[1].dtype == np.int32
