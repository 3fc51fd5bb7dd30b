"""Compiled matching of many sentences against `match`, sentence by sentence."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner.project import candidates, exact, match
from projner.project.exact import Matrices, Solved
from projner.project.match import Limit
from projner.project.search import components, solve_part, weigh

LIMITS = [Limit(1), Limit(2), Limit(None)]


class Instance(NamedTuple):
    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


def flat(instances: Sequence[Instance]) -> Matrices:
    def offsets(sizes: list[int]) -> np.ndarray:
        return np.cumsum([0, *sizes])

    return Matrices(
        offsets([len(each.scores) for each in instances]),
        offsets([len(each.starts) for each in instances]),
        offsets([each.scores.size for each in instances]),
        np.concatenate([each.starts for each in instances]).astype(np.int64),
        np.concatenate([each.ends for each in instances]).astype(np.int64),
        np.concatenate([each.scores.ravel() for each in instances]).astype(np.float64),
    )


def of_row(solved: Solved, row: int) -> tuple[tuple[tuple[int, int], ...], list[int]]:
    """Pairs and quantised margins."""
    own = solved.row == row
    pairs = zip(solved.entity[own].tolist(), solved.candidate[own].tolist(), strict=True)
    return tuple(pairs), np.rint(solved.margin[own] * match.SCALE).astype(int).tolist()


def check(instances: Sequence[Instance], limit: Limit = match.ONCE) -> Solved:
    """That what is chosen is what `match` chooses, wherever a row is solved."""
    solved = exact.solve(flat(instances), limit)
    assert (np.diff(solved.row) >= 0).all()
    for row, instance in enumerate(instances):
        if not solved.left[row]:
            best = match.solve(*instance, limit)
            assert best.status == "optimal"
            assert of_row(solved, row) == (best.pairs, match.margins(*instance, limit, best))
    return solved


def some_instance(chance: random.Random) -> Instance:
    """Few entities, some of them alike, on few words, with few different scores."""
    starts, ends = candidates.ngrams(chance.randint(0, 14), chance.choice([1, 3, 10]))
    kept = [column for column in range(len(starts)) if chance.random() < chance.choice([0.4, 1])]
    levels, density = chance.choice([2, 4, 1000]), chance.choice([0.2, 0.6, 1])
    rows = [
        [chance.randint(1, levels) / levels * (chance.random() < density) for _ in kept]
        for _ in range(chance.randint(1, 5))
    ]
    chosen = chance.choices(rows, k=chance.randint(0, 6))
    scores = np.array(chosen).reshape(len(chosen), len(kept))
    return Instance(scores, starts[kept], ends[kept])


def tagged(chance: np.random.Generator, words: int, labels: str, links: float = 0) -> Instance:
    """Scores as of a tagger that knows little, and with a share of them by links to random words."""
    starts, ends = candidates.ngrams(words, 10)
    of_class = {label: chance.random(words + 1) for label in sorted(set(labels))}
    scores = []
    for label in labels:
        sums = np.cumsum(of_class[label])
        score = 1.15 ** (ends - starts - 1) * (sums[ends] - sums[starts]) / (ends - starts)
        first = chance.integers(words)
        held = np.clip(np.minimum(ends, first + 2) - np.maximum(starts, first), 0, None)
        scores.append((1 - links) * score + links * held / (ends - starts))
    return Instance(np.array(scores), starts, ends)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_random_instances(limit: Limit) -> None:
    chance = random.Random(str(limit))
    solved = check([some_instance(chance) for _ in range(400)], limit)
    assert len(solved.row) > 500
    assert not solved.left.any()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_instance(data: st.DataObject) -> None:
    words = data.draw(st.integers(1, 8))
    spans = st.tuples(st.integers(0, words - 1), st.integers(1, words)).filter(
        lambda s: s[0] < s[1]
    )
    chosen = sorted(data.draw(st.lists(spans, max_size=12, unique=True)))
    row = st.lists(st.integers(0, 3), min_size=len(chosen), max_size=len(chosen))
    scores = data.draw(st.lists(row, max_size=5))
    starts, ends = np.array(chosen, np.int64).reshape(-1, 2).T
    shape = len(scores), len(chosen)
    instance = Instance(np.array(scores, float).reshape(shape) / 4, starts, ends)
    assert not check([instance], data.draw(st.sampled_from(LIMITS))).left.any()


@pytest.mark.parametrize(
    ("words", "labels", "links"),
    [
        (60, "P" * 40, 0),
        (20, "PLOPLOPP", 0),
        (12, "abcdefgh", 0),
        (20, "abcdefghijkl", 0.8),
        (16, "PPPLLOMabcd", 0.5),
    ],
)
def test_every_span_scores(words: int, labels: str, links: float) -> None:
    chance = np.random.default_rng(len(labels))
    assert not check([tagged(chance, words, labels, links)]).left.any()


@pytest.mark.parametrize("labels", ["abcdefgh", "PPPLLOMabcd"])
def test_the_search_alone(labels: str) -> None:
    instance = tagged(np.random.default_rng(5), 14, labels, 0.3)
    quantised = match.quantise(instance.scores)
    for limit in LIMITS[:2]:
        whole, _ = match.build(quantised, instance.starts, instance.ends, limit)
        for part in components(whole):
            expected = solve_part(part, match.WORK_LIMIT)
            assert expected.proven
            found = exact.search(part)
            assert found == expected.chosen
            assert weigh(found) == expected.bound


def test_what_takes_too_much_work_is_left() -> None:
    hard = tagged(np.random.default_rng(1), 40, "abcdefghijklmnopqrstuvwxyz")
    easy = tagged(np.random.default_rng(2), 5, "P")
    solved = exact.solve(flat([easy, hard, easy]), work_limit=1000)
    assert solved.left.tolist() == [False, True, False]
    assert set(solved.row) == {0, 2}


def test_more_entities_than_bits() -> None:
    many = Instance(np.ones((exact.MAX_ENTITIES + 1, 1)), np.array([0]), np.array([1]))
    solved = check([many, many._replace(scores=many.scores[1:])])
    assert solved.left.tolist() == [True, False]


def test_scores_too_large_for_an_int64_are_left() -> None:
    starts, ends = candidates.ngrams(1000, 1)
    large = Instance(np.full((3, 1000), 2.0**31), starts, ends)
    assert exact.solve(flat([large])).left.tolist() == [True]


def test_nothing() -> None:
    empty = Instance(np.empty((0, 0)), np.empty(0), np.empty(0))
    spans_alone = Instance(np.empty((0, 1)), np.array([0]), np.array([1]))
    entities_alone = Instance(np.empty((2, 0)), np.empty(0), np.empty(0))
    solved = check([empty, spans_alone, entities_alone])
    assert len(solved.row) == 0
    assert not solved.left.any()


@pytest.mark.parametrize("score", [-1.0, float("nan"), 2.0**32, float("inf")])
def test_what_is_no_score(score: float) -> None:
    with pytest.raises(ValueError, match="a score is"):
        exact.solve(flat([Instance(np.array([[score]]), np.array([0]), np.array([1]))]))


def test_scores_that_do_not_fit_the_spans() -> None:
    right = flat([Instance(np.ones((1, 2)), np.array([0, 1]), np.array([1, 2]))])
    with pytest.raises(ValueError, match="one score for each"):
        exact.solve(right._replace(span_offsets=np.array([0, 1])))


@pytest.mark.parametrize("limit", [Limit(1, "="), Limit(2, ">=")], ids=str)
def test_limits_from_below_are_not_for_here(limit: Any) -> None:
    with pytest.raises(ValueError, match="left to match"):
        exact.solve(flat([some_instance(random.Random(0))]), limit)
