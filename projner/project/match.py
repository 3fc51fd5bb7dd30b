"""Entities to spans: the choice of best total score, exactly.

Given scores c[i, j] >= 0 of n entities and m candidate spans of a sentence, choose pairs of the
highest summed score such that no two chosen spans share a word and every entity is used as often
as a `Limit` says. Scores become integers first (`quantise`), so that equal means equal. Among the
solutions of equal score the one with fewest words wins, then the smallest sum of starts, then the
one that has, in reading order and at the first difference, the smaller (start, end, entity).
Entities with identical scores take turns in reading order; pairs that score nothing, which `=` and
`>=` may need, come last among the entities and go to the first that is short of its limit.

Score, words and starts are one number, `score * A - words * B - start`, which adds up over pairs.
In a sentence of L words no solution has more than L words, or starts that sum to more than
L (L - 1) / 2; so B = L (L - 1) / 2 + 1 and A = (L + 1) B let neither spill into what counts more.
Totals stay below L * max(score) * A, about 2^19 L^4 for scores up to 1: an int64 holds them, with
room to spare, up to 1,000 words. The search uses Python's integers and knows no such limit.

The way there: entities on their best spans, where these do not overlap (`_best_spans`); otherwise
entities of identical rows are counted as one group, pairs that cannot matter are dropped (`build`),
groups that have no overlapping spans are solved apart (`search.components`), each by bounds and
dynamic programming (`search.solve_part`). Where that comes to its work limit, the same search
compiled goes on (`exact.search`), then CP-SAT has a try (`milp.improve`, which leaves the last
tie-break open), and what it cannot prove is `bounded`.

Limits `= k` and `>= k` need no search of their own. A pair that scores nothing belongs to nobody:
whoever is short of k may fill up with any span. So a solution keeps such a limit when n * k pairs
count towards it, and this total is one more resource.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from projner.project.search import (
    Answer,
    Item,
    Line,
    Part,
    components,
    first_prices,
    most_disjoint,
    solve_part,
    take_greedily,
    weigh,
)

Relation = Literal["<=", "=", ">="]
Status = Literal["optimal", "bounded", "infeasible"]
Integers = npt.NDArray[np.int64]
Pairs = tuple[tuple[int, int], ...]

SCALE = 1 << 20
"""Quantised score of 1."""
WORK_LIMIT = 500_000
"""Steps of the search in one component, half a second's worth. The compiled search is then given
`COMPILED` times as many, which take less, and CP-SAT after it one of its deterministic seconds per
100,000 for each objective."""
COMPILED = 32


@dataclass(frozen=True)
class Limit:
    """How often an entity is used: at most, exactly or at least `count` times.

    A `count` of None is no limit at all.
    """

    count: int | None = 1
    relation: Relation = "<="

    def __post_init__(self) -> None:
        if self.relation not in get_args(Relation):
            raise ValueError(f"relation is {self.relation!r}, not one of <=, =, >=")
        if self.count is None and self.relation != "<=":
            raise ValueError(f"a count of None goes with <=, not with {self.relation}")
        if self.count is not None and self.count < 1:
            raise ValueError(f"a count of {self.count} makes no sense; it is 1 or more")


ONCE = Limit()


@dataclass(frozen=True)
class Matching:
    """Chosen (entity, candidate) pairs in reading order, and what is known about them.

    `objective` is their summed quantised score and `bound` what no solution exceeds. `optimal`
    covers the tie-breaks; `bounded` with equal numbers is best in score, but perhaps not among
    equals.
    """

    pairs: Pairs
    objective: int
    bound: int
    status: Status


INFEASIBLE = Matching((), 0, 0, "infeasible")


def quantise(scores: npt.ArrayLike) -> Integers:
    """Scores in units of 2^-20, rounded. Raises ValueError unless each is in [0, 2^32)."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"scores have shape {values.shape}, not (entities, candidates)")
    if not ((values >= 0) & (values < 2**32)).all():
        raise ValueError("a score is negative, not a number or 2^32 or more")
    return np.rint(values * SCALE).astype(np.int64)


def check_spans(
    scores: Integers, starts: npt.ArrayLike, ends: npt.ArrayLike
) -> tuple[Integers, Integers]:
    """The spans as arrays. Raises ValueError unless there is one of a word or more per column."""
    first, last = np.asarray(starts, dtype=np.int64), np.asarray(ends, dtype=np.int64)
    columns = scores.shape[1]
    if first.shape != (columns,) or last.shape != (columns,):
        raise ValueError(f"{first.shape} starts and {last.shape} ends for {columns} candidates")
    if not ((first >= 0) & (first < last)).all():
        raise ValueError("a candidate has no words or begins before the first")
    return first, last


def solve(
    scores: npt.ArrayLike,
    starts: npt.ArrayLike,
    ends: npt.ArrayLike,
    limit: Limit = ONCE,
    work_limit: int = WORK_LIMIT,
) -> Matching:
    """The best matching of `scores` (n, m) to candidates of words `starts` to `ends` (m,).

    Raises ValueError for scores or spans that are not such.
    """
    quantised = quantise(scores)
    return _solve(quantised, *check_spans(quantised, starts, ends), limit, work_limit)


def greedy(
    scores: npt.ArrayLike, starts: npt.ArrayLike, ends: npt.ArrayLike, limit: Limit = ONCE
) -> Matching:
    """The best remaining pair, again and again: highest score, fewest words, leftmost, first row.

    For `=` and `>=`, a pair is passed over where too little room would remain for what is owed.
    The bound is that of a simple relaxation, and the status `bounded` even if it is met.
    """
    quantised = quantise(scores)
    spans = check_spans(quantised, starts, ends)
    if not _has_room(len(quantised), *spans, limit):
        return INFEASIBLE
    part, entities = build(quantised, *spans, limit, grouped=False)
    chosen = take_greedily(part, [item.weight for item in part.items])
    pairs = _deal(chosen, entities, limit)
    bound = min(relaxed.bound for relaxed in first_prices(Line(part)))
    return Matching(pairs, _sum(quantised, pairs), part.to_score(bound), "bounded")


def margins(
    scores: npt.ArrayLike,
    starts: npt.ArrayLike,
    ends: npt.ArrayLike,
    limit: Limit,
    matching: Matching,
    work_limit: int = WORK_LIMIT,
) -> list[int]:
    """How much each pair of a `solve`d matching adds: the optimum minus the optimum without it.

    Without it means without its score. For `<=` the entity is then not used on that span; for `=`
    and `>=` it can only fill up its quota there. In quantised units, from 0 (another solution is as
    good) to the pair's own score; exact where `solve` is. Of entities with identical scores that
    could swap their spans, each has a margin of 0.
    """
    quantised = quantise(scores)
    first, last = check_spans(quantised, starts, ends)
    rows_of = _entities_by_component(quantised, first, last, limit)
    found = []
    for entity, candidate in matching.pairs:
        rows = rows_of[entity]
        with_it = _sum(quantised, [pair for pair in matching.pairs if pair[0] in rows])
        without = quantised[rows]
        same_span = (first == first[candidate]) & (last == last[candidate])
        without[rows.index(entity), same_span] = 0
        margin = with_it - _solve(without, first, last, limit, work_limit).objective
        found.append(min(max(margin, 0), int(quantised[entity, candidate])))
    return found


def _solve(
    scores: Integers, starts: Integers, ends: Integers, limit: Limit, work_limit: int
) -> Matching:
    if not _has_room(len(scores), starts, ends, limit):
        return INFEASIBLE
    pairs = _best_spans(scores, starts, ends, limit)
    if pairs is not None:
        objective = _sum(scores, pairs)
        return Matching(pairs, objective, objective, "optimal")
    whole, groups = build(scores, starts, ends, limit)
    answers = [_solve_part(part, work_limit) for part in components(whole)]
    pairs = _deal([item for answer in answers for item in answer.chosen], groups, limit)
    objective = _sum(scores, pairs)
    if all(answer.proven for answer in answers):
        return Matching(pairs, objective, objective, "optimal")
    bound = whole.to_score(sum(answer.bound for answer in answers))
    return Matching(pairs, objective, bound, "bounded")


def _solve_part(part: Part, work_limit: int) -> Answer:
    answer = solve_part(part, work_limit)
    if answer.proven:
        return answer
    # Here, since these build on this module, and are hardly ever needed.
    from projner.project import exact, milp

    if part.owed is None and all(item.slots for item in part.items):
        chosen = exact.search(answer.part, COMPILED * work_limit)
        if chosen is not None:
            return Answer(chosen, weigh(chosen), True, answer.part)

    return milp.improve(answer, work_limit / 100_000)


def _has_room(entities: int, starts: Integers, ends: Integers, limit: Limit) -> bool:
    """Whether there are as many disjoint spans as the limit asks for; scores do not matter."""
    if limit.count is None or limit.relation == "<=":
        return True
    spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return most_disjoint(spans, entities * limit.count)


def _best_spans(scores: Integers, starts: Integers, ends: Integers, limit: Limit) -> Pairs | None:
    """Every entity on its best span, if the limit is one span each and none of these overlap."""
    if limit.count != 1 or limit.relation == ">=":
        return None
    if not scores.size:
        return ()
    order = np.lexsort((starts, ends - starts))
    best = order[scores[:, order].argmax(axis=1)]
    scored = scores[np.arange(len(scores)), best] > 0
    if limit.relation == "=" and not scored.all():
        return None
    entities = np.flatnonzero(scored)
    entities = entities[starts[best[entities]].argsort(kind="stable")]
    best = best[entities]
    if (ends[best][:-1] > starts[best][1:]).any():
        return None
    return tuple(zip(entities.tolist(), best.tolist(), strict=True))


def build(
    scores: Integers,
    starts: Integers,
    ends: Integers,
    limit: Limit,
    grouped: bool = True,
    pruned: bool = True,
) -> tuple[Part, list[list[int]]]:
    """The items that an optimal solution may contain, and the entities of each group.

    If not `pruned`, items of every pair that scores.

    Slot g is the uses of group g, except where they are unlimited. For `=` and `>=` one last slot,
    owed in full, counts the pairs that go towards the limit: uses up to it, and pairs that score
    nothing, whose group is one past the last. For `>=` an item without slots is a use beyond it.
    """
    groups = _group(scores) if grouped else [[entity] for entity in range(len(scores))]
    length = int(ends.max(initial=0))
    word = length * (length - 1) // 2 + 1
    unit = (length + 1) * word
    spans: list[tuple[int, int]] = list(zip(starts.tolist(), ends.tolist(), strict=True))
    capacity = [len(members) * (limit.count or 0) for members in groups]
    owed = None if limit.relation == "<=" else len(groups)
    if owed is not None:
        capacity.append(sum(capacity))

    items = []
    for group, members in enumerate(groups):
        uses: list[tuple[int, ...]] = [(group,) if owed is None else (group, owed)]
        if limit.count is None:
            uses = [()]
        elif limit.relation == ">=":
            uses.append(())
        row = scores[members[0]]
        scoring = [(column, int(row[column])) for column in np.flatnonzero(row).tolist()]
        for candidate, score in _undominated(row, spans) if pruned else scoring:
            start, end = spans[candidate]
            weight = score * unit - (end - start) * word - start
            items += [Item(start, end, group, slots, weight, candidate) for slots in uses]
    if owed is not None:
        for candidate, _ in _undominated(np.ones(len(spans), np.int64), spans):
            start, end = spans[candidate]
            weight = -(end - start) * word - start
            items.append(Item(start, end, len(groups), (owed,), weight, candidate))
    items.sort(key=lambda item: (item.start, item.end, item.group, -len(item.slots)))
    return Part(items, capacity, owed, unit), groups


def _group(scores: Integers) -> list[list[int]]:
    """Entities with identical rows together, in order of their first members."""
    groups: dict[bytes, list[int]] = {}
    for entity, row in enumerate(scores):
        groups.setdefault(row.tobytes(), []).append(entity)
    return list(groups.values())


def _undominated(row: Integers, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Candidates of a score above 0 and above that of every span inside them, with their scores.

    An entity can always move to a span inside the one that it has, so the others only cost words.
    """
    columns = np.flatnonzero(row).tolist()
    scored = [(*spans[column], int(row[column]), column) for column in columns]
    scored.sort(key=lambda span: (-span[0], span[1], -span[2], span[3]))
    length = max((span[1] for span in scored), default=0)
    # best[e] is the highest score so far of a span that ends by e. None of these starts further
    # left than the span at hand, so those that end by its end lie inside it.
    best = [0] * (length + 1)
    kept = []
    for _, end, score, column in scored:
        if score <= best[end]:
            continue
        kept.append((column, score))
        while end <= length and best[end] < score:
            best[end] = score
            end += 1
    return kept


def _deal(chosen: Sequence[Item], groups: Sequence[Sequence[int]], limit: Limit) -> Pairs:
    """Items to pairs: members of a group take turns, then whoever is short of the limit fills up.

    Items left when nobody is short, which only a solution short of the optimum has, are dropped.
    """
    uses: Counter[int] = Counter()
    dealt: Counter[int] = Counter()
    pairs, filling = [], []
    for item in sorted(chosen):
        if item.group == len(groups):
            filling.append(item)
            continue
        members = groups[item.group]
        entity = members[dealt[item.group] % len(members)]
        dealt[item.group] += 1
        uses[entity] += 1
        pairs.append((item.start, entity, item.candidate))
    short = [
        entity
        for entity in range(sum(map(len, groups)))
        for _ in range(uses[entity], limit.count or 0)
    ]
    pairs += [
        (item.start, entity, item.candidate) for item, entity in zip(filling, short, strict=False)
    ]
    return tuple((entity, candidate) for _, entity, candidate in sorted(pairs))


def _entities_by_component(
    scores: Integers, starts: Integers, ends: Integers, limit: Limit
) -> dict[int, list[int]]:
    """For every entity that can be used, the entities that it has to do with, itself included.

    Not by its best spans alone: without one of them, it may be better off with another's words.
    """
    whole, groups = build(scores, starts, ends, limit, pruned=False)
    everyone = list(range(len(scores)))
    if whole.owed is not None:
        return dict.fromkeys(everyone, everyone)
    rows_of: dict[int, list[int]] = {}
    for part in components(whole):
        used = {item.group for item in part.items}
        rows = sorted(entity for group in used for entity in groups[group])
        rows_of.update(dict.fromkeys(rows, rows))
    return rows_of


def _sum(scores: Integers, pairs: Sequence[tuple[int, int]]) -> int:
    return sum(int(scores[pair]) for pair in pairs)
