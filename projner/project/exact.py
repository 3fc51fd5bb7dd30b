"""Exact matching of many sentences at once, compiled, with their margins.

The same as `match.solve` and `match.margins` give sentence by sentence where the limit is `<=` or
none; those say what is chosen and why, and are the tests' oracle. Of a row, in this order:

* entities on their best spans, where these do not overlap;
* otherwise entities that have nothing to do with each other are solved apart. Those of identical
  scores are one group, of which a state counts how many are used, and a span is dropped that
  scores no more than one inside it. A table of words by states is filled from the last word to the
  first (`_fill`), as long as it is small;
* otherwise the rounds of `search.solve_part`: prices for groups, items dropped that the prices
  prove hopeless, and the same programme on those states alone that they do not (`_search`).

What a row may cost is bounded in steps, never by the clock; rows beyond that are left to `match`.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import NumbaWarning, objmode

from projner.compiled import compiled
from projner.project.match import COMPILED, ONCE, SCALE, Limit
from projner.project.match import WORK_LIMIT as UNCOMPILED
from projner.project.search import Item, Part

Array = npt.NDArray[Any]

# What it warns of, that the rare search holds the global lock, is known.
warnings.filterwarnings("ignore", "Code running in object mode", NumbaWarning)

MAX_ENTITIES = 62
"""Sets of entities are the bits of an int64."""
MAX_WEIGHT = 2.0**61
"""What weights and bounds in an int64 stay below, all of a row together."""
WORK_LIMIT = COMPILED * UNCOMPILED
"""Steps for the choice, and for each margin; a tenth of a second or less."""
SMALL = 1 << 17
"""Steps up to which a table of all states is filled without a further thought."""
ROUNDS = ((30, 16), (30, 16), (40, 64), (80, 512), (80, 4096), (80, 1 << 15))
"""Steps of price improvement, then the most states at one word, of each round."""
STATE = 4
"""A state that is looked at costs as much as so many items at which a price is tried."""


class Matrices(NamedTuple):
    """Scores of a table's rows, flat: row r has entities `entity_offsets[r]` to `[r + 1]`, spans
    `span_offsets[r]` to `[r + 1]` and, entity by entity, the scores from `score_offsets[r]` on.

    Offsets are int64 (rows + 1,). The spans of a row are distinct, and come by start, then by end.
    """

    entity_offsets: Array
    span_offsets: Array
    score_offsets: Array
    starts: Array
    ends: Array
    scores: Array


class Solved(NamedTuple):
    """Chosen pairs, by row and in reading order: flat arrays of one value for each.

    `candidate` is a span's place in its row; margins are in units of score. `left`, bool (rows,),
    marks the rows that were not solved.
    """

    row: Array
    entity: Array
    candidate: Array
    margin: Array
    left: Array


def solve(matrices: Matrices, limit: Limit = ONCE, work_limit: int = WORK_LIMIT) -> Solved:
    """The best pairs of every row, with `work_limit` steps for each search.

    Raises ValueError for a score that `match.quantise` refuses, and for a limit that is not `<=`.
    """
    if limit.relation != "<=":
        raise ValueError(f"limits with {limit.relation} are left to match.solve")
    work = np.array([0, work_limit])
    row, entity, candidate, margin, left = _solve_rows(*matrices, limit.count or 0, work)
    return Solved(row, entity, candidate, margin / SCALE, left)


def search(part: Part, work_limit: int = WORK_LIMIT) -> list[Item] | None:
    """The solution that `search.solve_part` looks for, None if that takes more steps.

    Slots are used by items alone, one each; nothing is owed.
    """
    items = part.items
    n_words = max(item.end for item in items)
    capacity = np.minimum(part.capacity, n_words)
    largest = float(max(item.weight for item in items))
    if largest * max(int(capacity.sum()), n_words) > MAX_WEIGHT:
        return None
    columns = [(item.start, item.end, item.slots[0], item.weight) for item in items]
    start, end, slot, weight = np.array(columns, np.int64).T.copy()
    chosen, work = np.empty(n_words, np.int64), np.array([work_limit])
    count = _search(
        start, end, slot, weight, capacity, n_words, np.zeros_like(capacity), 0, chosen, work
    )
    return None if count < 0 else [items[index] for index in chosen[:count]]


@compiled
def _solve_rows(
    entity_offsets: Array, span_offsets: Array, score_offsets: Array, all_starts: Array,
    all_ends: Array, all_scores: Array, count: int, work: Array,
) -> Any:  # fmt: skip
    """`count` is 0 where there is no limit; `work[1]` is what each search may do."""
    rows = len(entity_offsets) - 1
    room = 0
    for row in range(rows):
        room += _most(entity_offsets, span_offsets, all_ends, row, count)
    row_of, entity_of = np.empty(room, np.int64), np.empty(room, np.int64)
    column_of, margin_of = np.empty(room, np.int64), np.empty(room, np.int64)
    left = np.zeros(rows, np.bool_)
    filled = 0
    for row in range(rows):
        entities = entity_offsets[row + 1] - entity_offsets[row]
        starts = all_starts[span_offsets[row] : span_offsets[row + 1]]
        ends = all_ends[span_offsets[row] : span_offsets[row + 1]]
        if entities > MAX_ENTITIES:
            left[row] = True
            continue
        size = entities * len(starts)
        if score_offsets[row + 1] - score_offsets[row] != size:
            raise ValueError("there is not one score for each entity and span")
        if size == 0:
            continue
        scores = _quantised(all_scores[score_offsets[row] : score_offsets[row] + size])
        most = _most(entity_offsets, span_offsets, all_ends, row, count)
        pairs = _solve_row(
            scores.reshape(entities, len(starts)), starts, ends, count, work,
            entity_of[filled : filled + most], column_of[filled : filled + most],
            margin_of[filled : filled + most],
        )  # fmt: skip
        if pairs < 0:
            left[row] = True
            continue
        for pair in range(filled, filled + pairs):
            row_of[pair] = row
        filled += pairs
    return row_of[:filled], entity_of[:filled], column_of[:filled], margin_of[:filled], left


@compiled
def _most(entity_offsets: Array, span_offsets: Array, ends: Array, row: int, count: int) -> int:
    """Pairs that a row can have."""
    entities = entity_offsets[row + 1] - entity_offsets[row]
    if entities == 0:
        return 0
    if count == 1:
        return int(entities)
    words = _last(ends[span_offsets[row] : span_offsets[row + 1]])
    return int(min(words, entities * count) if count else words)


@compiled
def _last(ends: Array) -> int:
    last = 0
    for end in ends:
        last = max(last, end)
    return last


@compiled
def _quantised(scores: Array) -> Array:
    quantised = np.empty(len(scores), np.int64)
    for k, score in enumerate(scores):
        if not 0 <= score < 4294967296.0:
            raise ValueError("a score is negative, not a number or 2^32 or more")
        quantised[k] = np.int64(np.rint(score * SCALE))
    return quantised


@compiled
def _solve_row(
    scores: Array, starts: Array, ends: Array, count: int, work: Array,
    entity_of: Array, column_of: Array, margin_of: Array,
) -> int:  # fmt: skip
    """Set the pairs of a row and their margins; how many there are, or -1 for too much work."""
    entities, n_words = len(scores), _last(ends)
    best, second = np.empty(entities, np.int64), np.empty(entities, np.int64)
    for entity in range(entities):
        best[entity], second[entity] = _two_best(scores[entity], starts, ends)
    # What the others would gain if an entity were not there; -1 where that is not known.
    gain, prices = np.full(entities, -1), np.zeros(entities, np.int64)
    work[0] = work[1]
    everybody = (1 << entities) - 1
    is_easy = count == 1 and _are_apart(best, starts, ends, everybody)
    parts = np.full(entities, everybody) if is_easy else _parts(scores, starts, ends)
    pairs = 0
    for first in range(entities):
        if parts[first] & ((1 << first) - 1) == 0:
            found = _solve_part(
                scores, starts, ends, n_words, parts[first], count, best, work,
                entity_of[pairs:], column_of[pairs:], gain, prices, 0,
            )  # fmt: skip
            if found < 0:
                return -1
            pairs += found
    _in_reading_order(entity_of[:pairs], column_of[:pairs], starts)
    for pair in range(pairs):
        margin_of[pair] = _easy_margin(
            scores, starts, ends, best, second, gain, entity_of[:pairs], column_of[:pairs], pair
        )
    for pair in range(pairs):
        if margin_of[pair] >= 0:
            continue
        if is_easy:
            parts, is_easy = _parts(scores, starts, ends), False
        margin_of[pair] = _margin(
            scores, starts, ends, n_words, parts, count, best, second, work, prices,
            entity_of[:pairs], column_of[:pairs], pair,
        )  # fmt: skip
        if margin_of[pair] < 0:
            return -1
    return pairs


@compiled
def _two_best(scores: Array, starts: Array, ends: Array) -> tuple[int, int]:
    """The best candidate (highest score, then fewest words, then leftmost) and the next best; -1
    where none scores."""
    best = second = -1
    highest = high = fewest = few = 0
    for column, score in enumerate(scores):
        if score < max(1, high):
            continue
        words = ends[column] - starts[column]
        if score > highest or (score == highest and words < fewest):
            second, high, few = best, highest, fewest
            best, highest, fewest = column, score, words
        elif score > high or words < few:
            second, high, few = column, score, words
    return best, second


@compiled
def _are_apart(best: Array, starts: Array, ends: Array, part: int) -> bool:
    """Whether the best spans of a part's entities do not overlap."""
    for entity, one in enumerate(best):
        if part >> entity & 1 and one >= 0:
            for before in range(entity):
                other = best[before]
                both = part >> before & 1 and other >= 0
                if both and starts[one] < ends[other] and starts[other] < ends[one]:
                    return False
    return True


@compiled
def _parts(scores: Array, starts: Array, ends: Array) -> Array:
    """For each entity the set of those that it has to do with, by way of spans that overlap."""
    parts = np.empty(len(scores), np.int64)
    for entity in range(len(parts)):
        parts[entity] = 1 << entity
    joint = reached = 0
    for column in range(len(starts) + 1):
        if column == len(starts) or starts[column] >= reached:
            for entity in range(len(parts)):
                if joint >> entity & 1:
                    joint |= parts[entity]
            for entity in range(len(parts)):
                if joint >> entity & 1:
                    parts[entity] = joint
            joint = 0
        if column < len(starts):
            for entity in range(len(parts)):
                if scores[entity, column] > 0:
                    joint |= 1 << entity
                    reached = max(reached, ends[column])
    return parts


@compiled
def _in_reading_order(entity_of: Array, column_of: Array, starts: Array) -> None:
    for last in range(1, len(entity_of)):
        entity, column, place = entity_of[last], column_of[last], last
        while place and starts[column_of[place - 1]] > starts[column]:
            entity_of[place], column_of[place] = entity_of[place - 1], column_of[place - 1]
            place -= 1
        entity_of[place], column_of[place] = entity, column


# Margins


@compiled
def _easy_margin(
    scores: Array, starts: Array, ends: Array, best: Array, second: Array, gain: Array,
    entity_of: Array, column_of: Array, pair: int,
) -> int:  # fmt: skip
    """The margin of a pair whose entity has a double, or could move while the others stay; else -1.

    The others gain nothing by its absence, and its next best span is free: so nobody can do better.
    """
    entity, column = entity_of[pair], column_of[pair]
    for twin in range(len(scores)):
        alike = twin != entity and best[twin] == best[entity]
        if alike and (scores[twin] == scores[entity]).all():
            return 0
    if gain[entity] != 0:
        return -1
    other = second[entity] if best[entity] == column else best[entity]
    if other < 0:
        return int(scores[entity, column])
    for beside in range(len(column_of)):
        taken = column_of[beside]
        if beside != pair and starts[taken] < ends[other] and starts[other] < ends[taken]:
            return -1
    return int(scores[entity, column] - scores[entity, other])


@compiled
def _margin(
    scores: Array, starts: Array, ends: Array, n_words: int, parts: Array, count: int, best: Array,
    second: Array, work: Array, prices: Array, entity_of: Array, column_of: Array, pair: int,
) -> int:  # fmt: skip
    """A pair's margin, by solving its part without it; -1 for too much work."""
    entity, column = entity_of[pair], column_of[pair]
    work[0] = work[1]
    margin = 0
    for beside in range(len(entity_of)):
        if parts[entity] >> entity_of[beside] & 1:
            margin += scores[entity_of[beside], column_of[beside]]
    # The others as they are, and the entity on its best span that is free, are a solution already.
    step, unit = _units(n_words)
    floor = most = 0
    for other in range(len(starts)):
        weight = _weigh(scores, starts, ends, entity, other, step, unit)
        if other != column and weight > most:
            alone = True
            for beside in range(len(entity_of)):
                taken = column_of[beside]
                apart = starts[taken] >= ends[other] or starts[other] >= ends[taken]
                alone = alone and (apart or beside == pair)
            if alone:
                most = weight
    for beside in range(len(entity_of)):
        if beside != pair and parts[entity] >> entity_of[beside] & 1:
            floor += _weigh(scores, starts, ends, entity_of[beside], column_of[beside], step, unit)
    score, first = scores[entity, column], best[entity]
    scores[entity, column] = 0
    if first == column:
        best[entity] = second[entity]
    room = max(len(scores), n_words)
    spare_entity, spare_column = np.empty(room, np.int64), np.empty(room, np.int64)
    pairs = _solve_part(
        scores, starts, ends, n_words, parts[entity], count, best, work,
        spare_entity, spare_column, np.empty(len(scores), np.int64), prices.copy(),
        floor + most,
    )  # fmt: skip
    for other in range(pairs):
        margin -= scores[spare_entity[other], spare_column[other]]
    scores[entity, column], best[entity] = score, first
    return margin if pairs >= 0 else -1


# One part


@compiled
def _solve_part(
    scores: Array, starts: Array, ends: Array, n_words: int, part: int, count: int, best: Array,
    work: Array, entity_of: Array, column_of: Array, gain: Array, prices: Array, floor: int,
) -> int:  # fmt: skip
    """Set the pairs of a part and what is known of `gain`; how many, or -1 for too much work.

    `prices` are of entities, to begin with and as they are found; `floor` is a solution's weight.
    """
    pairs = 0
    if count == 1 and _are_apart(best, starts, ends, part):
        for entity, column in enumerate(best):
            if part >> entity & 1 and column >= 0:
                entity_of[pairs], column_of[pairs], gain[entity] = entity, column, 0
                pairs += 1
        return pairs
    group_of, sizes = _groups(scores, best, part)
    n_groups = len(sizes)
    firsts, members = np.full(n_groups, -1), np.zeros(n_groups, np.int64)
    capacity = np.full(n_groups, n_words)
    step, unit = _units(n_words)
    most, states = 0.0, 1.0
    for entity, group in enumerate(group_of):
        if group >= 0 and firsts[group] < 0:
            firsts[group] = entity
            if count:
                capacity[group] = min(n_words, sizes[group] * count)
            highest = float(scores[entity, best[entity]]) * unit
            most = max(most + highest * capacity[group], highest * n_words)
            states *= capacity[group] + 1
    if most > MAX_WEIGHT:
        return -1
    start, end, slot, weight, column_at = _items(scores, starts, ends, firsts, n_words, step, unit)
    chosen = np.empty(n_words, np.int64)
    if count == 0:
        found = _without_limit(start, end, slot, weight, capacity, n_words, chosen)
    elif states * (len(start) + n_words) <= SMALL:
        rest = np.empty(n_groups, np.int64)
        found = _fill(start, end, slot, weight, capacity, n_words, chosen, rest)
        total = 0
        for index in chosen[:found]:
            total += scores[firsts[slot[index]], column_at[index]]
        for index in chosen[:found]:
            entity = firsts[slot[index]]
            if count == 1:
                # Weights are scores less a tie-break, which is less than a unit.
                without = (rest[slot[index]] + unit - 1) // unit
                gain[entity] = without - (total - scores[entity, column_at[index]])
    else:
        price = prices[firsts]
        # By way of Python, so that it is compiled only when it is needed, which is seldom.
        with objmode(found="int64"):
            found = _search(start, end, slot, weight, capacity, n_words, price, floor, chosen, work)
        for group, entity in enumerate(firsts):
            prices[entity] = price[group]
    for index in chosen[: max(0, found)]:
        group = slot[index]
        turn = members[group] % sizes[group]
        members[group] += 1
        for entity in range(len(group_of)):
            if group_of[entity] == group:
                if turn == 0:
                    entity_of[pairs], column_of[pairs] = entity, column_at[index]
                    pairs += 1
                    break
                turn -= 1
    return pairs if found >= 0 else -1


@compiled
def _units(n_words: int) -> tuple[int, int]:
    """What a word and a unit of score weigh, as `match` has it."""
    word = n_words * (n_words - 1) // 2 + 1
    return word, (n_words + 1) * word


@compiled
def _weigh(
    scores: Array, starts: Array, ends: Array, entity: int, column: int, word: int, unit: int
) -> int:
    start, end = starts[column], ends[column]
    return int(scores[entity, column] * unit - (end - start) * word - start)


@compiled
def _groups(scores: Array, best: Array, part: int) -> tuple[Array, Array]:
    """Each entity's group of identical scores, by first members, -1 outside the part or without a
    score; and the sizes of groups."""
    group_of, sizes = np.full(len(scores), -1), np.zeros(len(scores), np.int64)
    groups = 0
    for entity in range(len(scores)):
        if not part >> entity & 1 or best[entity] < 0:
            continue
        for before in range(entity):
            alike = group_of[before] >= 0 and best[before] == best[entity]
            if alike and (scores[before] == scores[entity]).all():
                group_of[entity] = group_of[before]
                break
        if group_of[entity] < 0:
            group_of[entity] = groups
            groups += 1
        sizes[group_of[entity]] += 1
    return group_of, sizes[:groups]


@compiled
def _items(
    scores: Array, starts: Array, ends: Array, firsts: Array, n_words: int, step: int, unit: int
) -> tuple[Array, Array, Array, Array, Array]:
    """The items that an optimal solution may contain, as `match.build` has them: start, end, group,
    weight and column of each."""
    kept = np.zeros((len(starts), len(firsts)), np.bool_)
    best = np.empty(n_words + 1, np.int64)
    count = 0
    for group, entity in enumerate(firsts):
        for word in range(n_words + 1):
            best[word] = 0
        high = len(starts)
        while high > 0:
            low = high - 1
            while low > 0 and starts[low - 1] == starts[low]:
                low -= 1
            for column in range(low, high):
                score, reached = scores[entity, column], ends[column]
                if score > best[reached]:
                    kept[column, group] = True
                    count += 1
                    while reached <= n_words and best[reached] < score:
                        best[reached] = score
                        reached += 1
            high = low
    start, end, slot, weight, column_at = (
        np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64),
        np.empty(count, np.int64), np.empty(count, np.int64),
    )  # fmt: skip
    count = 0
    for column in range(len(starts)):
        for group, entity in enumerate(firsts):
            if kept[column, group]:
                first, last = starts[column], ends[column]
                start[count], end[count], slot[count] = first, last, group
                weight[count] = _weigh(scores, starts, ends, entity, column, step, unit)
                column_at[count] = column
                count += 1
    return start, end, slot, weight, column_at


@compiled
def _fill(
    start: Array, end: Array, slot: Array, weight: Array, capacity: Array, n_words: int,
    chosen: Array, rest: Array,
) -> int:  # fmt: skip
    """Set the items of the best solution and, for each slot, the best weight with a unit less of it.

    `best[p, f]` is the largest weight of items from word p on when f, a number with a digit for
    every slot, says how many units there are. Of equals the first in order is taken.
    """
    stride = np.empty(len(capacity), np.int64)
    states = 1
    for place, units in enumerate(capacity):
        stride[place] = states
        states *= units + 1
    best = np.zeros((n_words + 1, states), np.int64)
    index = len(start) - 1
    for here in range(n_words - 1, -1, -1):
        row = best[here]
        _copy(best[here + 1], row)
        while index >= 0 and start[index] == here:
            after, gained = best[end[index]], weight[index]
            step = stride[slot[index]]
            block = step * (capacity[slot[index]] + 1)
            for base in range(0, states, block):
                for free in range(base + step, base + block):
                    total = gained + after[free - step]
                    if total > row[free]:
                        row[free] = total
            index -= 1
    free = states - 1
    for place, step in enumerate(stride):
        rest[place] = best[0, free - step]
    here = found = 0
    for index in range(len(start)):
        if start[index] < here:
            continue
        step = stride[slot[index]]
        if free // step % (capacity[slot[index]] + 1) == 0:
            continue
        if weight[index] + best[end[index], free - step] == best[start[index], free]:
            chosen[found] = index
            found += 1
            here, free = end[index], free - step
    return found


@compiled
def _without_limit(
    start: Array, end: Array, slot: Array, weight: Array, capacity: Array, n_words: int,
    chosen: Array,
) -> int:  # fmt: skip
    """The same where there are units for everybody."""
    reduced, suffix = np.empty(len(start), np.int64), np.empty(n_words + 1, np.int64)
    choice, used = np.empty(n_words, np.int64), np.empty(len(capacity), np.int64)
    _relax(
        start, end, slot, weight, capacity, n_words, np.zeros(len(capacity), np.int64),
        reduced, suffix, choice, used,
    )  # fmt: skip
    return _follow(choice, end, chosen)


@compiled
def _follow(choice: Array, end: Array, chosen: Array) -> int:
    """Set the items that a relaxed solution has; how many."""
    found = here = 0
    while here < len(choice):
        if choice[here] < 0:
            here += 1
        else:
            chosen[found] = choice[here]
            found += 1
            here = end[choice[here]]
    return found


# The search


@compiled
def _search(
    start: Array, end: Array, slot: Array, weight: Array, capacity: Array, n_words: int,
    price: Array, floor: int, chosen: Array, work: Array,
) -> int:  # fmt: skip
    """Set the items of the best solution, the first in order of equals; how many there are, or -1.

    `price` has those to begin with, and gets the best. `floor` is the weight of some solution, and
    `work[0]` what may still be done.
    """
    dearest = np.zeros(len(capacity), np.int64)
    for index, place in enumerate(slot):
        dearest[place] = max(dearest[place], weight[index])
    number = np.arange(len(start))
    reduced, suffix = np.empty(len(start), np.int64), np.empty(n_words + 1, np.int64)
    choice, used = np.empty(n_words, np.int64), np.empty(len(capacity), np.int64)
    floor = max(floor, _greedily(weight, start, end, slot, weight, capacity, n_words))
    bound = _relax(
        start, end, slot, weight, capacity, n_words, price, reduced, suffix, choice, used
    )
    other = _relax(
        start, end, slot, weight, capacity, n_words, dearest, reduced, suffix, choice, used
    )
    if other < bound:
        _copy(dearest, price)
    for steps, width in ROUNDS:
        bound = _improve(
            start, end, slot, weight, capacity, n_words, dearest, price, reduced, suffix, choice,
            used, floor, steps,
        )  # fmt: skip
        work[0] -= (steps + 4) * (len(start) + n_words)
        if work[0] < 0:
            return -1
        if _is_optimal(price, used, capacity):
            found = _follow(choice, end, chosen)
            for place in range(found):
                chosen[place] = number[chosen[place]]
            return found
        ahead = _ahead(start, end, reduced, n_words)
        reach = np.empty(len(start), np.int64)
        for index in range(len(start)):
            beside = ahead[start[index]] + suffix[end[index]]
            reach[index] = beside + reduced[index] + bound - suffix[0]
        floor = max(floor, _greedily(reach, start, end, slot, weight, capacity, n_words))
        kept = reach >= floor
        start, end, slot, weight = start[kept], end[kept], slot[kept], weight[kept]
        number, reduced = number[kept], reduced[kept]
        found, floor, lost = _sweep(
            start, end, slot, weight, reduced, price, capacity, n_words, floor, width, chosen, work
        )
        if work[0] < 0:
            return -1
        if found >= 0 and lost < floor:
            for place in range(found):
                chosen[place] = number[chosen[place]]
            return found
    return -1


@compiled
def _relax(
    start: Array, end: Array, slot: Array, weight: Array, capacity: Array, n_words: int,
    price: Array, reduced: Array, suffix: Array, choice: Array, used: Array,
) -> int:  # fmt: skip
    """The problem without limits at given prices, as `search.relax` has it; its bound.

    `suffix[p]` is the largest sum of items from word p on, `choice[p]` the item that it has there.
    """
    suffix[n_words] = 0
    index = len(start) - 1
    for here in range(n_words - 1, -1, -1):
        suffix[here], choice[here] = suffix[here + 1], -1
        while index >= 0 and start[index] == here:
            reduced[index] = weight[index] - price[slot[index]]
            total = reduced[index] + suffix[end[index]]
            if total >= suffix[here]:
                suffix[here], choice[here] = total, index
            index -= 1
    bound = 0
    for place, units in enumerate(capacity):
        used[place] = 0
        bound += price[place] * units
    here = 0
    while here < n_words:
        if choice[here] < 0:
            here += 1
        else:
            used[slot[choice[here]]] += 1
            here = end[choice[here]]
    return int(suffix[0] + bound)


@compiled
def _improve(
    start: Array, end: Array, slot: Array, weight: Array, capacity: Array, n_words: int,
    dearest: Array, price: Array, reduced: Array, suffix: Array, choice: Array, used: Array,
    floor: int, steps: int,
) -> int:  # fmt: skip
    """Set better prices, as `search.improve_prices` does, and the relaxation at them; its bound."""
    trial = price.copy()
    bound = least = _relax(
        start, end, slot, weight, capacity, n_words, trial, reduced, suffix, choice, used
    )
    stale, scale = 0, 1.0
    for _ in range(steps):
        norm = 0
        for place, units in enumerate(capacity):
            norm += (used[place] - units) ** 2
        if least <= floor or norm == 0 or _is_optimal(trial, used, capacity):
            break
        for place in range(len(price)):
            step = (bound - floor) * scale * (used[place] - capacity[place]) / norm
            # Dearer than its best item is useless, and could overflow.
            trial[place] = max(0, min(dearest[place], trial[place] + np.int64(step)))
        bound = _relax(
            start, end, slot, weight, capacity, n_words, trial, reduced, suffix, choice, used
        )
        stale += 1
        if bound <= least:
            stale = 0 if bound < least else stale
            least = bound
            _copy(trial, price)
        if stale == 5:
            stale, scale = 0, scale / 2
    return _relax(start, end, slot, weight, capacity, n_words, price, reduced, suffix, choice, used)


@compiled
def _is_optimal(price: Array, used: Array, capacity: Array) -> bool:
    """Whether a relaxed solution keeps every limit and leaves no unit that has a price."""
    for place, units in enumerate(capacity):
        if used[place] > units or (price[place] > 0 and used[place] < units):
            return False
    return True


@compiled
def _ahead(start: Array, end: Array, values: Array, n_words: int) -> Array:
    """The largest sum of disjoint items that end by each word, limits aside."""
    best = np.zeros(n_words + 1, np.int64)
    index = 0
    for here in range(n_words + 1):
        if here:
            best[here] = max(best[here], best[here - 1])
        while index < len(start) and start[index] == here:
            best[end[index]] = max(best[end[index]], best[here] + values[index])
            index += 1
    return best


@compiled
def _greedily(
    worth: Array, start: Array, end: Array, slot: Array, weight: Array, capacity: Array,
    n_words: int,
) -> int:  # fmt: skip
    """The weight of the items of most `worth` that fit, one after the other."""
    left, taken = capacity.copy(), np.zeros(n_words, np.bool_)
    total = 0
    for index in np.argsort(-worth, kind="mergesort"):
        is_free = left[slot[index]] > 0
        for word in range(start[index], end[index]):
            is_free = is_free and not taken[word]
        if is_free:
            for word in range(start[index], end[index]):
                taken[word] = True
            left[slot[index]] -= 1
            total += weight[index]
    return total


@compiled
def _sweep(
    start: Array, end: Array, slot: Array, weight: Array, reduced: Array, price: Array,
    capacity: Array, n_words: int, floor: int, width: int, chosen: Array, work: Array,
) -> tuple[int, int, int]:  # fmt: skip
    """`search.sweep`: how many items are chosen, -1 if none of weight `floor` or more was found;
    their weight; and a bound on what was left out for want of width, -1 if nothing was.

    A key has a field of bits for every slot, which counts the units taken. States of word p are
    those from `begin[p]` to `begin[p] + size[p]`; their items are a linked list of nodes.
    """
    n_slots = len(capacity)
    opens, shift, full = np.full(n_slots, n_words), np.zeros(n_slots, np.int64), capacity * 0
    for index in range(len(start)):
        opens[slot[index]] = min(opens[slot[index]], start[index])
    bits = 0
    worth = 0
    for place in range(n_slots):
        if opens[place] < n_words:
            shift[place] = bits
            while full[place] < capacity[place]:
                full[place] = 2 * full[place] + 1
                bits += 1
            worth += price[place] * capacity[place]
    if bits > MAX_ENTITIES:
        work[0] = -1
        return -1, floor, -1
    by_opening = np.argsort(opens, kind="mergesort")
    ahead = _ahead(start, end, reduced, n_words)

    begin, size = np.zeros(n_words + 1, np.int64), np.zeros(n_words + 1, np.int64)
    key, potential, node, node_item, node_next = (
        np.zeros(1024, np.int64), np.zeros(1024, np.int64), np.zeros(1024, np.int64),
        np.zeros(1024, np.int64), np.zeros(1024, np.int64),
    )  # fmt: skip
    table = np.full(2048, -1)
    key[0], potential[0], node[0], size[n_words] = 0, worth, -1, 1
    top, nodes, lost = 1, 0, -1
    high = len(start)
    for here in range(n_words - 1, -1, -1):
        low = high
        while low > 0 and start[low - 1] == here:
            low -= 1
        begin[here] = top
        need = floor - ahead[here]
        for at in range(len(table)):
            table[at] = -1
        for index in range(low - 1, high):
            # First those that have nothing here.
            origin = here + 1 if index < low else end[index]
            count = size[origin]
            work[0] -= STATE * count
            if work[0] < 0:
                return -1, floor, -1
            key, potential, node = (
                _with_room(key, top + count), _with_room(potential, top + count),
                _with_room(node, top + count),
            )  # fmt: skip
            node_item = _with_room(node_item, nodes + count)
            node_next = _with_room(node_next, nodes + count)
            slots = len(table)
            while slots < 2 * (top - begin[here] + count):
                slots *= 2
            if slots > len(table):
                table = np.full(slots, -1)
                for state in range(begin[here], top):
                    table[_place(table, key, key[state])] = state
            for state in range(begin[origin], begin[origin] + count):
                taken, value, tail = key[state], potential[state], node[state]
                if index >= low:
                    place = slot[index]
                    if taken >> shift[place] & full[place] >= capacity[place]:
                        continue
                    taken += 1 << shift[place]
                    value += reduced[index]
                for place in by_opening:
                    if opens[place] >= origin:
                        break
                    if opens[place] >= here:
                        left = capacity[place] - (taken >> shift[place] & full[place])
                        value -= price[place] * left
                        taken &= ~(full[place] << shift[place])
                if value < need:
                    continue
                at = _place(table, key, taken)
                known = table[at]
                if known >= 0:
                    if value < potential[known]:
                        continue
                    if value == potential[known] and not _is_earlier(
                        node_item, node_next, index if index >= low else -1, tail, node[known]
                    ):
                        continue
                else:
                    known = table[at] = top
                    top += 1
                if index >= low:
                    node_item[nodes], node_next[nodes] = index, tail
                    tail = nodes
                    nodes += 1
                key[known], potential[known], node[known] = taken, value, tail
        count = top - begin[here]
        if count > width:
            order = begin[here] + np.argsort(-potential[begin[here] : top], kind="mergesort")
            lost = max(lost, potential[order[width]] + ahead[here])
            _keep(key, order[:width], begin[here])
            _keep(potential, order[:width], begin[here])
            _keep(node, order[:width], begin[here])
            count = width
            top = begin[here] + width
        size[here] = count
        high = low
    if size[0] == 0:
        return -1, floor, lost
    found, at = 0, node[begin[0]]
    while at >= 0:
        chosen[found] = node_item[at]
        found += 1
        at = node_next[at]
    return found, int(potential[begin[0]]), lost


@compiled
def _with_room(values: Array, count: int) -> Array:
    """`values`, or a copy at least twice as long if there is no room for so many."""
    if count <= len(values):
        return values
    longer = np.empty(2 * max(count, len(values)), np.int64)
    _copy(values, longer)
    return longer


@compiled
def _copy(values: Array, into: Array) -> None:
    # Not `into[:] = values`: that takes numba two seconds to compile.
    for index, value in enumerate(values):
        into[index] = value


@compiled
def _keep(values: Array, order: Array, begin: int) -> None:
    """Leave, from `begin` on, the values at the places `order`."""
    kept = values[order]
    for place, value in enumerate(kept):
        values[begin + place] = value


@compiled
def _place(table: Array, key: Array, wanted: int) -> int:
    """Where a key's state is in a hash table, or would be."""
    mask = len(table) - 1
    at = (wanted ^ wanted >> 29) * 0x9E3779B97F4A7C1 >> 17 & mask
    while table[at] >= 0 and key[table[at]] != wanted:
        at = at + 1 & mask
    return int(at)


@compiled
def _is_earlier(node_item: Array, node_next: Array, index: int, tail: int, node: int) -> bool:
    """Whether `index` (if it is not -1) before the list `tail` comes before the list `node`."""
    if index >= 0:
        if node < 0 or node_item[node] != index:
            return node >= 0 and index < node_item[node]
        node = node_next[node]
    while tail >= 0 and node >= 0 and tail != node:
        if node_item[tail] != node_item[node]:
            return bool(node_item[tail] < node_item[node])
        tail, node = node_next[tail], node_next[node]
    return False
