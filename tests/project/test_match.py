"""The matching: against enumeration, against OR-tools, and its pieces against what they promise."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from projner.project import exact as compiled
from projner.project import match, search
from projner.project import milp as integer_programmes
from projner.project.match import Limit, Matching, greedy, margins, quantise, solve
from projner.project.milp import milp
from projner.tags import to_spans

LIMITS = [
    Limit(1),
    Limit(2),
    Limit(None),
    Limit(1, "="),
    Limit(2, "="),
    Limit(1, ">="),
    Limit(2, ">="),
]


class Case(NamedTuple):
    scores: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def worth(self, matching: Matching) -> tuple[int, int, int]:
        """What is maximised: score, then few words, then small starts."""
        columns = [column for _, column in matching.pairs]
        score = sum(int(quantise(self.scores)[pair]) for pair in matching.pairs)
        return (
            score,
            int((self.starts - self.ends)[columns].sum()),
            -int(self.starts[columns].sum()),
        )

    def spans(self, matching: Matching) -> list[tuple[int, int, int]]:
        return [(int(self.starts[c]), int(self.ends[c]), e) for e, c in matching.pairs]

    def shuffled(self, seed: int) -> Case:
        order = np.random.default_rng(seed).permutation(len(self.starts))
        return Case(self.scores[:, order], self.starts[order], self.ends[order])


def ngrams(length: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    starts, sizes = np.mgrid[:length, 1 : longest + 1].reshape(2, -1)
    fits = starts + sizes <= length
    return starts[fits], (starts + sizes)[fits]


def random_case(seed: int, entities: int = 7, length: int = 14) -> Case:
    """Few levels of score, so many ties; from sparse to dense; sometimes twin entities."""
    rng = np.random.default_rng(seed)
    starts, ends = ngrams(int(rng.integers(1, length + 1)), 5)
    kept = rng.permutation(np.flatnonzero(rng.random(len(starts)) < rng.random()))
    shape = (int(rng.integers(0, entities + 1)), len(kept))
    scores = rng.integers(0, rng.integers(2, 6), shape) * (rng.random(shape) < rng.random()) / 4
    if len(scores) > 2 and rng.random() < 0.3:
        scores[2] = scores[0]
    return Case(scores, starts[kept], ends[kept])


@st.composite
def tiny_cases(draw: st.DrawFn) -> Case:
    pool = list(zip(*(ends.tolist() for ends in ngrams(draw(st.integers(1, 6)), 3)), strict=True))
    spans = draw(st.lists(st.sampled_from(pool), unique=True, max_size=8))
    entities = draw(st.integers(0, 4))
    levels = st.sampled_from([0.0, 0.25, 0.5, 0.75])
    rows = draw(st.lists(st.lists(levels, min_size=8, max_size=8), min_size=4, max_size=4))
    starts = np.array([start for start, _ in spans], dtype=int)
    ends = np.array([end for _, end in spans], dtype=int)
    return Case(np.array(rows)[:entities, : len(spans)], starts, ends)


def keeps(uses: int, limit: Limit) -> bool:
    if limit.count is None:
        return True
    return {
        "<=": uses <= limit.count,
        "=": uses == limit.count,
        ">=": uses >= limit.count,
    }[limit.relation]


def check_valid(case: Case, limit: Limit, matching: Matching) -> None:
    uses = Counter(entity for entity, _ in matching.pairs)
    spans = case.spans(matching)
    assert all(keeps(uses[entity], limit) for entity in range(len(case.scores)))
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    assert matching.objective == case.worth(matching)[0] <= matching.bound
    if limit.relation == "<=":
        assert all(case.scores[pair] > 0 for pair in matching.pairs)


def every_matching(case: Case, limit: Limit) -> list[Matching]:
    """All that keep the limit, in no order worth knowing; a zero only where the limit may ask."""
    order = np.lexsort((case.ends, case.starts)).tolist()
    entities = range(len(case.scores))
    partial: list[tuple[tuple[int, int], ...]] = [()]
    for column in order:
        partial += [
            (*pairs, (entity, column))
            for pairs in partial
            for entity in entities
            if (not pairs or case.ends[pairs[-1][1]] <= case.starts[column])
            and (limit.relation != "<=" or case.scores[entity, column] > 0)
        ]
    uses = [Counter(entity for entity, _ in pairs) for pairs in partial]
    return [
        Matching(pairs, 0, 0, "optimal")
        for pairs, used in zip(partial, uses, strict=True)
        if all(keeps(used[entity], limit) for entity in entities)
    ]


def in_classes(seed: int, entities: int, classes: int, length: int = 60) -> Case:
    """Every n-gram scores for every entity, by the class of the entity alone."""
    rng = np.random.default_rng(seed)
    starts, ends = ngrams(length, 10)
    rows = rng.random((classes, len(starts)))
    return Case(rows[rng.integers(0, classes, entities)], starts, ends)


def by_links(seed: int, entities: int, length: int = 60) -> Case:
    """Entities of 1 to 3 words in order, each word linked near its place; 2 links / words."""
    rng = np.random.default_rng(seed)
    starts, ends = ngrams(length, 10)
    sizes = rng.integers(1, 4, entities)
    linked = np.zeros((entities, length + 1), dtype=int)
    for entity, size in enumerate(sizes):
        places = (entity + 0.5) * length / entities + rng.normal(0, 1.5, size)
        linked[entity, 1 + np.clip(places.astype(int), 0, length - 1)] = 1
    inside = np.cumsum(linked, axis=1)[:, ends] - np.cumsum(linked, axis=1)[:, starts]
    return Case(2 * inside / (sizes[:, None] + (ends - starts)), starts, ends)


# The problem


@pytest.mark.parametrize(
    ("count", "relation"), [(0, "<="), (-1, "="), (None, "="), (None, ">="), (1, "<"), (1, "==")]
)
def test_limit_refuses(count, relation):
    with pytest.raises(ValueError, match=r"relation is|a count of"):
        Limit(count, relation)


@pytest.mark.parametrize("scores", [[0.5], [[-0.1]], [[np.nan]], [[np.inf]], [[2.0**32]]])
def test_scores_are_checked(scores):
    with pytest.raises(ValueError, match="score"):
        solve(scores, [0], [1])


@pytest.mark.parametrize(
    ("starts", "ends"), [([0], [0]), ([-1], [1]), ([2], [1]), ([0, 1], [1, 2]), ([], [])]
)
def test_spans_are_checked(starts, ends):
    with pytest.raises(ValueError, match="candidate"):
        solve([[0.5]], starts, ends)


@pytest.mark.parametrize(
    ("scores", "spans", "limit", "expected"),
    [
        pytest.param([[0.5, 0.4]], [(0, 2), (1, 3)], Limit(), [(0, 2, 0)], id="best"),
        pytest.param([[0.5, 0.5]], [(0, 2), (3, 4)], Limit(), [(3, 4, 0)], id="fewest words"),
        pytest.param([[0.5, 0.5]], [(3, 4), (0, 1)], Limit(), [(0, 1, 0)], id="leftmost"),
        pytest.param([[0.5, 0.0]], [(0, 1), (1, 2)], Limit(None), [(0, 1, 0)], id="no zeros"),
        pytest.param([[1e-9]], [(0, 1)], Limit(), [], id="zero once quantised"),
        pytest.param(
            [[0.9, 0.8], [0.9, 0.1]], [(0, 1), (1, 2)], Limit(), [(0, 1, 1), (1, 2, 0)], id="clash"
        ),
        pytest.param(
            [[0.5, 0.6], [0.5, 0.6]], [(2, 3), (0, 1)], Limit(), [(0, 1, 0), (2, 3, 1)], id="twins"
        ),
        pytest.param(
            [[0.5, 0.4, 0.3]] * 2,
            [(0, 1), (1, 2), (2, 3)],
            Limit(2),
            [(0, 1, 0), (1, 2, 1), (2, 3, 0)],
            id="turns",
        ),
        pytest.param(
            [[0.5, 0.5], [0.5, 0.6]], [(0, 1), (0, 2)], Limit(), [(0, 2, 1)], id="one span each"
        ),
        pytest.param([[0.5], [0.5]], [(0, 1)], Limit(), [(0, 1, 0)], id="first entity"),
        pytest.param([[0.4, 0.5]], [(0, 1), (0, 1)], Limit(), [(0, 1, 0)], id="span given twice"),
        pytest.param(
            [[0.6, 0.4, 0.4, 0.6]],
            [(0, 3), (3, 4), (1, 2), (2, 5)],
            Limit(None),
            [(0, 3, 0), (3, 4, 0)],
            id="first in reading order",
        ),
        pytest.param(
            [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]],
            [(0, 2), (2, 5), (1, 2), (3, 5)],
            Limit(),
            [(0, 2, 0), (3, 5, 1)],
            id="first in reading order, limited",
        ),
        pytest.param(
            [[0.5, 0.0, 0.0], [0.4, 0.0, 0.0]],
            [(0, 1), (2, 4), (5, 6)],
            Limit(1, "="),
            [(0, 1, 0), (5, 6, 1)],
            id="zeros fill up",
        ),
        pytest.param(
            [[0.5, 0.2, 0.0]],
            [(0, 1), (2, 3), (4, 5)],
            Limit(1, ">="),
            [(0, 1, 0), (2, 3, 0)],
            id="more than asked",
        ),
        pytest.param(
            [[0.1, 0.9, 0.1], [0.0, 0.0, 0.0]],
            [(0, 1), (0, 3), (2, 3)],
            Limit(1, "="),
            [(0, 1, 0), (2, 3, 1)],
            id="room for all",
        ),
        pytest.param(np.zeros((0, 1)), [(0, 1)], Limit(2, "="), [], id="no entities"),
        pytest.param(np.zeros((2, 0)), [], Limit(), [], id="no candidates"),
    ],
)
def test_examples(scores, spans, limit, expected):
    case = Case(np.array(scores), *np.array(spans, dtype=int).reshape(-1, 2).T)
    matching = solve(*case, limit)
    assert (case.spans(matching), matching.status) == (expected, "optimal")
    check_valid(case, limit, matching)


def test_infeasible():
    assert solve(np.zeros((1, 0)), [], [], Limit(1, ">=")).status == "infeasible"
    assert solve([[0.5, 0.5]], [0, 1], [2, 3], Limit(2, "=")) == match.INFEASIBLE


# Against enumeration


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@settings(max_examples=250, deadline=None)
@given(case=tiny_cases())
def test_equals_enumeration(limit, case):
    everything = every_matching(case, limit)
    matching = solve(*case, limit)
    if not everything:
        assert matching.status == "infeasible"
        return
    assert matching.status == "optimal"
    check_valid(case, limit, matching)
    best = max(map(case.worth, everything))
    assert case.worth(matching) == best
    if limit.relation == "<=" and len(np.unique(case.scores, axis=0)) == len(case.scores):
        ties = [case.spans(other) for other in everything if case.worth(other) == best]
        assert case.spans(matching) == min(ties)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@settings(max_examples=60, deadline=None)
@given(case=tiny_cases())
def test_margins_equal_enumeration(limit, case):
    matching = solve(*case, limit)
    found = margins(*case, limit, matching)
    expected = []
    for pair in matching.pairs:
        scores = case.scores.copy()
        scores[pair] = 0
        lessened = case._replace(scores=scores)
        others = every_matching(lessened, limit)
        expected.append(matching.objective - max(lessened.worth(other)[0] for other in others))
    assert found == expected


def test_margins_of_twins_are_zero():
    case = Case(np.array([[0.9, 0.8]] * 2), np.array([0, 2]), np.array([1, 3]))
    assert margins(*case, Limit(), solve(*case)) == [0, 0]


# Against OR-tools


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_equals_milp(limit):
    statuses = Counter()
    for seed in range(300):
        case = random_case(seed)
        matching, other = solve(*case, limit), milp(*case, limit)
        assert matching.status == other.status, seed
        assert case.worth(matching) == case.worth(other), seed
        statuses[matching.status] += 1
        if matching.status == "optimal":
            check_valid(case, limit, matching)
            check_valid(case, limit, other)
    assert statuses["optimal"] > 50


@pytest.mark.parametrize("solver", ["scip", "highs"])
@pytest.mark.parametrize("limit", [Limit(), Limit(1, "="), Limit(1, ">=")], ids=str)
def test_other_solvers_agree(solver, limit):
    for seed in range(25):
        case = random_case(seed)
        matching, other = solve(*case, limit), milp(*case, limit, solver)
        assert (matching.status, case.worth(matching)) == (other.status, case.worth(other)), seed


def test_unknown_solver():
    with pytest.raises(ValueError, match="cp_sat"):
        milp([[0.5]], [0], [1], Limit(), "simplex")


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_links_equal_milp(limit):
    for seed in range(3):
        case = by_links(seed, 20, 45)
        matching = solve(*case, limit)
        assert matching.status == "optimal"
        assert case.worth(matching) == case.worth(milp(*case, limit)), seed


def test_long_sentences_outgrow_int64():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 50_000, 60)
    case = Case(rng.integers(1, 4, (5, 60)) * 1000.0, starts, starts + rng.integers(1, 9000, 60))
    part, _ = match.build(quantise(case.scores), case.starts, case.ends, Limit(2))
    assert max(item.weight for item in part.items) > 2**63
    assert case.worth(solve(*case, Limit(2))) == case.worth(milp(*case, Limit(2)))


# Greedy


def naive_greedy(case: Case) -> list[tuple[int, int, int]]:
    scores = quantise(case.scores)
    pairs = [(int(e), int(c)) for e, c in zip(*np.nonzero(scores), strict=True)]
    pairs.sort(
        key=lambda p: (-scores[p], case.ends[p[1]] - case.starts[p[1]], case.starts[p[1]], p)
    )
    taken: list[tuple[int, int, int]] = []
    for entity, column in pairs:
        start, end = int(case.starts[column]), int(case.ends[column])
        if all(entity != other and (end <= s or e <= start) for s, e, other in taken):
            taken.append((start, end, entity))
    return sorted(taken)


def test_greedy_takes_the_best_remaining():
    for seed in range(400):
        case = random_case(seed)
        assert case.spans(greedy(*case)) == naive_greedy(case), seed


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_greedy_is_valid_and_no_better(limit):
    worse = 0
    for seed in range(400):
        case = random_case(seed)
        exact, quick = solve(*case, limit), greedy(*case, limit)
        assert (exact.status == "infeasible") == (quick.status == "infeasible"), seed
        if exact.status == "optimal":
            check_valid(case, limit, quick)
            assert case.worth(quick) <= case.worth(exact), seed
            assert quick.bound >= exact.objective, seed
            worse += quick.objective < exact.objective
    assert worse > 0


# What must not matter


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_order_of_candidates_does_not_matter(limit):
    for seed in range(150):
        case = random_case(seed)
        other = case.shuffled(seed)
        assert case.spans(solve(*case, limit)) == other.spans(solve(*other, limit)), seed
        assert case.spans(greedy(*case, limit)) == other.spans(greedy(*other, limit)), seed


@settings(max_examples=300, deadline=None)
@given(case=tiny_cases(), limit=st.sampled_from(LIMITS), data=st.data())
def test_prices_bound_and_do_not_change_the_sweep(case, limit, data):
    assume(solve(*case, limit).status == "optimal")
    part, _ = match.build(quantise(case.scores), case.starts, case.ends, limit)
    line = search.Line(part)
    free = [0] * len(part.capacity)
    best = search.sweep(line, search.relax(line, free), -(1 << 62), 1 << 30, 1 << 30).chosen
    top = 2 * max((item.weight for item in part.items), default=0)
    prices = [
        data.draw(st.integers(-abs(top) if slot == part.owed else 0, abs(top)))
        for slot in range(len(part.capacity))
    ]
    relaxed = search.relax(line, prices)
    weight = search.weigh(best)
    assert relaxed.bound >= weight
    smaller, relaxed = search.restrict(line, relaxed, weight)
    assert search.sweep(smaller, relaxed, weight, 1 << 30, 1 << 30).chosen == best[:]
    answer = search.solve_part(part, 1 << 30)
    assert (answer.chosen, answer.bound, answer.proven) == (best, weight, True)
    narrow = search.sweep(line, search.relax(line, prices), -(1 << 62), 1, 1 << 30)
    if narrow.lost is None or (narrow.chosen and narrow.lost < search.weigh(narrow.chosen)):
        assert narrow.chosen == best
    else:
        assert narrow.lost >= weight or search.weigh(narrow.chosen) == weight


def test_components_are_apart_and_complete():
    for seed in range(200):
        case = random_case(seed, entities=5, length=20)
        part, _ = match.build(quantise(case.scores), case.starts, case.ends, Limit())
        parts = search.components(part)
        assert sorted(item for one in parts for item in one.items) == sorted(part.items)
        for one in parts:
            groups = {item.group for item in one.items}
            rest = [item for item in part.items if item.group not in groups]
            assert all(a.end <= b.start or b.end <= a.start for a in one.items for b in rest), seed


# Work limit


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_no_work_gives_a_bound(limit):
    statuses = Counter()
    for seed in range(100):
        case = random_case(seed)
        exact, cut = solve(*case, limit), solve(*case, limit, work_limit=0)
        statuses[cut.status] += 1
        assert (exact.status == "infeasible") == (cut.status == "infeasible"), seed
        assert cut.objective <= exact.objective <= cut.bound, seed
        if cut.status == "optimal":
            assert case.worth(cut) == case.worth(exact), seed
        if cut.status == "bounded":
            check_valid(case, limit, cut)
    assert limit.count is None or statuses["bounded"]


@pytest.mark.parametrize("limit", [Limit(1), Limit(2)], ids=str)
def test_the_compiled_search_takes_over(limit, monkeypatch):
    cases = [random_case(seed) for seed in range(60)]
    expected = [solve(*case, limit) for case in cases]
    monkeypatch.setattr(search, "ROUNDS", ())
    monkeypatch.setattr(integer_programmes, "improve", None)
    assert [solve(*case, limit) for case in cases] == expected


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_cp_sat_takes_over(limit, monkeypatch):
    monkeypatch.setattr(search, "ROUNDS", ())
    monkeypatch.setattr(compiled, "search", lambda *_: None)
    for seed in range(60):
        case = random_case(seed)
        matching, other = solve(*case, limit), milp(*case, limit)
        assert matching.status == other.status, seed
        assert case.worth(matching) == case.worth(other), seed


def test_hard_case_is_bounded_alike_each_time():
    rng = np.random.default_rng(0)
    starts, ends = ngrams(40, 10)
    case = Case(rng.random((26, len(starts))), starts, ends)
    first, again, exact = solve(*case, work_limit=2000), solve(*case, work_limit=2000), solve(*case)
    assert first.status == "bounded"
    assert first == again
    assert first.objective <= exact.objective == exact.bound <= first.bound
    other = case.shuffled(1)
    assert case.spans(first) == other.spans(solve(*other, work_limit=2000))


# Sentences with many entities


def counted_optimum(case: Case) -> int:
    """Best score of entities that only classes tell apart, by plain dynamic programming."""
    rows, counts = np.unique(quantise(case.scores), axis=0, return_counts=True)
    length = int(case.ends.max())
    best = np.zeros((length + 1, *(counts + 1)), dtype=np.int64)
    spent, kept = slice(None, -1), slice(1, None)
    for end in range(1, length + 1):
        best[end] = best[end - 1]
        for column in np.flatnonzero(case.ends == end):
            for axis, row in enumerate(rows):
                to = tuple(kept if other == axis else slice(None) for other in range(len(rows)))
                of = tuple(spent if other == axis else slice(None) for other in range(len(rows)))
                taken = best[case.starts[column]][of] + row[column]
                best[end][to] = np.maximum(best[end][to], taken)
    return int(best[length].max())


@pytest.mark.parametrize(("entities", "classes"), [(26, 1), (40, 1), (26, 3), (40, 3)])
def test_many_entities_of_few_classes(entities, classes):
    case = in_classes(0, entities, classes)
    matching = solve(*case)
    assert matching.status == "optimal"
    check_valid(case, Limit(), matching)
    assert matching.objective == counted_optimum(case)


@pytest.mark.parametrize("entities", [26, 40])
def test_many_entities_with_links(entities):
    case = by_links(0, entities)
    matching = solve(*case)
    assert matching.status == "optimal"
    assert case.worth(matching) == case.worth(milp(*case))


def test_many_entities_told_apart_only_by_links():
    classes, links = in_classes(1, 26, 3), by_links(1, 26)
    case = classes._replace(scores=0.5 * classes.scores + 0.5 * links.scores)
    matching = solve(*case)
    assert matching.status == "optimal"
    check_valid(case, Limit(), matching)
    assert matching.objective >= greedy(*case).objective


def test_longest_real_sentence(shared_data: Path):
    folder = shared_data / "absa" / "en-es" / "test"
    read = lambda name: (folder / name).read_text(encoding="utf-8")  # noqa: E731
    sources = read("source.tsv").strip().split("\n\n")
    targets = read("gold.tsv").strip().split("\n\n")
    links = read("awesome.pharaoh").splitlines()
    row = max(range(len(sources)), key=lambda number: sources[number].count(" B-"))
    entities = to_spans([line.split(" ")[1] for line in sources[row].split("\n")])
    length = len(targets[row].split("\n"))
    linked = np.zeros((len(entities), length + 1), dtype=int)
    for source, target in (map(int, link.split("-")) for link in links[row].split()):
        for number, entity in enumerate(entities):
            linked[number, target + 1] += entity.start <= source < entity.end
    starts, ends = ngrams(length, 10)
    inside = linked.cumsum(axis=1)[:, ends] - linked.cumsum(axis=1)[:, starts]
    sizes = np.array([entity.end - entity.start for entity in entities])
    case = Case(2 * inside / (sizes[:, None] + ends - starts), starts, ends)
    assert len(entities) == 26
    assert case.worth(solve(*case)) == case.worth(milp(*case))
