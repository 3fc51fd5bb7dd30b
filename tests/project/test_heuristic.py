from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.project.heuristic import heuristic, span


def pairs(values):
    return np.array(values, np.int32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("entities", "links", "settings", "expected"),
    [
        ([], [(0, 0)], {}, []),
        ([(0, 1)], [], {}, []),
        ([(0, 1)], [(1, 3)], {}, []),
        # One run, words shared by links counted once.
        ([(0, 2)], [(0, 3), (1, 3), (1, 4)], {}, [(0, 3, 5, 1.0)]),
        # A gap of one word is bridged, one of two is not.
        ([(0, 2)], [(0, 2), (1, 4)], {}, [(0, 2, 5, 1.0)]),
        ([(0, 2)], [(0, 2), (1, 4)], {"merge": 0}, []),
        ([(0, 1)], [(0, 2), (0, 5)], {}, [(0, 2, 3, 1.0), (0, 5, 6, 1.0)]),
        ([(0, 1)], [(0, 2), (0, 5)], {"merge": 2}, [(0, 2, 6, 1.0)]),
        # The ratio is a strict bound: 4 of 5 words are too few, 5 of 6 are enough.
        ([(0, 5)], [(i, i) for i in range(4)], {}, []),
        ([(0, 6)], [(i, i) for i in range(5)], {}, [(0, 0, 5, 5 / 6)]),
        ([(0, 5)], [(i, i) for i in range(4)], {"ratio": 0.5}, [(0, 0, 4, 0.8)]),
        # The shorter entity first; the other may not overlap it.
        ([(0, 2), (2, 3)], [(0, 0), (1, 1), (2, 1)], {}, [(1, 1, 2, 1.0)]),
        # Of equals the earlier.
        ([(0, 1), (1, 2)], [(0, 0), (1, 0)], {}, [(0, 0, 1, 1.0)]),
        # At most so many runs: the longest, then the first.
        (
            [(0, 1)],
            [(0, 0), (0, 3), (0, 4), (0, 7)],
            {"limit": 2},
            [(0, 0, 1, 1.0), (0, 3, 5, 1.0)],
        ),
        ([(0, 1)], [(0, 0), (0, 3), (0, 4)], {"limit": 1}, [(0, 3, 5, 1.0)]),
    ],
)
def test_heuristic(entities, links, settings, expected):
    assert heuristic(pairs(entities), pairs(links), 9, **settings) == expected


@pytest.mark.parametrize(
    ("entities", "links", "expected"),
    [
        ([], [(0, 0)], []),
        ([(0, 1)], [], []),
        ([(0, 2)], [(0, 6), (0, 1)], [(0, 1, 7, 0.5)]),
        # In order of the entities, though the second is shorter.
        ([(0, 2), (2, 3)], [(0, 1), (1, 3), (2, 2)], [(0, 1, 4, 1.0)]),
        ([(0, 2), (2, 3)], [(0, 1), (1, 3), (2, 0)], [(1, 0, 1, 1.0), (0, 1, 4, 1.0)]),
    ],
)
def test_span(entities, links, expected):
    assert span(pairs(entities), pairs(links), 9) == expected


def brute_force(entities, links, n_target, merge, ratio, limit):
    taken, found = set(), []
    for entity in sorted(range(len(entities)), key=lambda e: entities[e][1] - entities[e][0]):
        start, end = entities[entity]
        own = [(i, j) for i, j in links if start <= i < end]
        runs = []
        for j in range(n_target):
            if any(j == target for _, target in own):
                if runs and j - runs[-1][-1] - 1 <= merge:
                    runs[-1].append(j)
                else:
                    runs.append([j])
        runs = [(run[0], run[-1] + 1) for run in runs]
        runs = [r for r in runs if (r[1] - r[0]) / (end - start) > ratio]
        runs = [r for r in runs if not taken & set(range(*r))]
        for run in sorted(runs, key=lambda r: (r[0] - r[1], r[0]))[:limit]:
            taken |= set(range(*run))
            sources = {i for i, j in own if run[0] <= j < run[1]}
            found.append((entity, *run, len(sources) / (end - start)))
    return sorted(found, key=lambda item: item[1])


ENTITIES = st.lists(st.integers(0, 8), unique=True, max_size=5).map(sorted)
LINKS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 8)), max_size=16)


@given(
    ENTITIES,
    LINKS,
    st.sampled_from([0, 1, 3]),
    st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    st.sampled_from([1, 2, None]),
)
def test_heuristic_against_brute_force(cuts, links, merge, ratio, limit):
    entities = list(pairwise(cuts))
    found = heuristic(pairs(entities), pairs(links), 9, merge, ratio, limit)
    assert found == brute_force(entities, links, 9, merge, ratio, limit)


@given(ENTITIES, LINKS)
def test_spans_never_overlap(cuts, links):
    entities = pairs(list(pairwise(cuts)))
    for found in (heuristic(entities, pairs(links), 9), span(entities, pairs(links), 9)):
        words = [word for _, start, end, _ in found for word in range(start, end)]
        assert words == sorted(set(words))
        assert all(0 < score <= 1 for *_, score in found)
