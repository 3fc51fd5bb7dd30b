"""Disjoint spans of the largest total weight that keep to limits: the search behind `match`.

Without limits this is weighted interval scheduling, solved by one pass over the words. Limits are
resources here: an item takes units of up to two slots, and slots have capacities. `solve_part` goes
through rounds of

* prices: a unit of every slot gets a price and its capacity is forgotten (Lagrangian relaxation).
  Any prices give an upper bound on the real problem, good ones a close bound. They show which items
  no good solution contains, and often the relaxed solution already keeps the limits;
* a sweep: a dynamic programme from the last word to the first. Its state is how many units of
  each slot are taken, of slots that items further left may still take. States that the prices prove
  hopeless are left out; so are, where there are more than `width` at one position, the least
  promising. If none of those could have led to anything better, the outcome is optimal.

Weights are Python's integers, so nothing overflows or is rounded, and work is counted in steps, so
the outcome never depends on the clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

ROUNDS = ((0, 32), (80, 64), (40, 512), (80, 4096), (80, 32768))
"""Steps of price improvement, then width of the sweep, of each round."""


class Item(NamedTuple):
    """One way to use words `start` to `end` (exclusive), which weighs `weight`.

    It takes one unit of each of `slots`, two at most. `group` says whose it is (see `match.build`)
    and orders the items of one span.
    """

    start: int
    end: int
    group: int
    slots: tuple[int, ...]
    weight: int
    candidate: int


class Part(NamedTuple):
    """The problem: disjoint items of the largest total weight.

    `items` are sorted by start, end and group; no more than `capacity[s]` units of slot s are
    taken; slot `owed`, if any, must be taken in full. `unit` is the weight of one unit of score.
    """

    items: list[Item]
    capacity: list[int]
    owed: int | None
    unit: int

    def to_score(self, weight: int) -> int:
        """Score of a solution of this weight; of a bound on the weight, a bound on the score."""
        return -(-weight // self.unit)


class Answer(NamedTuple):
    """A solution, a bound on the weight of all, whether none is better, and what is left to search.

    `part` has all items of every solution that is better or as good.
    """

    chosen: list[Item]
    bound: int
    proven: bool
    part: Part


def weigh(items: Sequence[Item]) -> int:
    """Total weight."""
    return sum(item.weight for item in items)


def solve_part(part: Part, work_limit: int) -> Answer:
    """The best solution of a part that has one, proven where the sweeps need no more steps.

    Of solutions of equal weight it is the one whose items, from left to right and at the first
    difference, come first in the part's order.
    """
    chosen = take_greedily(part, [item.weight for item in part.items])
    floor = weigh(chosen)
    line = Line(part)
    relaxed = min(first_prices(line), key=lambda relaxed: relaxed.bound)
    bound = relaxed.bound
    for steps, width in ROUNDS:
        relaxed = improve_prices(line, relaxed, floor, steps)
        bound = min(bound, relaxed.bound)
        if relaxed.is_optimal(part.owed):
            return Answer([line.items[index] for index in relaxed.chosen], bound, True, line.part)
        guided = take_greedily(line.part, reach(line, relaxed))
        if weigh(guided) > floor:
            chosen, floor = guided, weigh(guided)
        line, relaxed = restrict(line, relaxed, floor)
        swept = sweep(line, relaxed, floor, width, work_limit)
        if swept is None:
            break
        work_limit -= swept.work
        if swept.chosen is not None:
            chosen, floor = swept.chosen, weigh(swept.chosen)
        if swept.lost is None or swept.lost < floor:
            return Answer(chosen, floor, True, line.part)
        bound = min(bound, swept.lost)
    return Answer(chosen, bound, False, line.part)


def components(part: Part) -> list[Part]:
    """Independent parts: items that overlap or take the same slot are in one."""
    if part.owed is not None or not all(item.slots for item in part.items):
        return [part]
    parent = list(range(len(part.capacity)))

    def root(slot: int) -> int:
        while parent[slot] != slot:
            parent[slot] = parent[parent[slot]]
            slot = parent[slot]
        return slot

    reached = last = 0
    for item in part.items:
        (slot,) = item.slots
        if item.start < reached:
            parent[root(slot)] = root(last)
        last, reached = slot, max(reached, item.end)
    found: dict[int, list[Item]] = {}
    for item in part.items:
        found.setdefault(root(item.slots[0]), []).append(item)
    return [part._replace(items=items) for items in found.values()]


def most_disjoint(spans: Sequence[tuple[int, int]], wanted: int) -> bool:
    """Whether `wanted` of the spans can be apart; taking the one that ends first is optimal."""
    reached = 0
    for start, end in sorted(spans, key=lambda span: span[1]):
        if wanted <= 0:
            break
        if start >= reached:
            reached = end
            wanted -= 1
    return wanted <= 0


def take_greedily(part: Part, worth: Sequence[int]) -> list[Item]:
    """The item of most `worth` that fits and leaves room for what is owed, again and again."""
    left = list(part.capacity)
    taken = bytearray(max((item.end for item in part.items), default=0))
    owing = [(item.start, item.end) for item in part.items if part.owed in item.slots]
    chosen = []
    for _, item in sorted(zip(worth, part.items, strict=True), key=lambda entry: -entry[0]):
        if any(taken[item.start : item.end]) or not all(left[slot] for slot in item.slots):
            continue
        taken[item.start : item.end] = b"\1" * (item.end - item.start)
        if part.owed is not None:
            free = [(start, end) for start, end in owing if not any(taken[start:end])]
            if not most_disjoint(free, left[part.owed] - (part.owed in item.slots)):
                taken[item.start : item.end] = bytes(item.end - item.start)
                continue
        for slot in item.slots:
            left[slot] -= 1
        chosen.append(item)
    return chosen


class Line:
    """A part's items laid along the positions, which are the words at which some item starts.

    Items `begin[p]` to `begin[p + 1]` start at position p. Item i starts at position `first[i]` and
    ends by `after[i]`; `ending[p]` lists the items whose `after` is p. `opening[p]` lists the slots
    that no item left of p takes, and `reach[p]` is the last `after` of the items left of p.
    """

    def __init__(self, part: Part) -> None:
        words = sorted({item.start for item in part.items})
        starts = [item.start for item in part.items]
        self.part = part
        self.items = part.items
        self.length = len(words)
        self.begin = [bisect_left(starts, word) for word in words] + [len(starts)]
        self.first = [here for here in range(self.length) for _ in self.starting(here)]
        self.after = [bisect_left(words, item.end) for item in part.items]
        self.ending: list[list[int]] = [[] for _ in range(self.length + 1)]
        self.opening: list[list[int]] = [[] for _ in range(self.length)]
        self.slots: list[int] = []
        for index, item in enumerate(part.items):
            self.ending[self.after[index]].append(index)
            for slot in item.slots:
                if slot not in self.slots:
                    self.slots.append(slot)
                    self.opening[self.first[index]].append(slot)
        self.reach = [0]
        for here in range(self.length):
            self.reach.append(max(self.reach[here], *(self.after[i] for i in self.starting(here))))
        none = len(part.capacity)
        self._bills = [(item.weight, *item.slots, none, none)[:3] for item in part.items]

    def starting(self, here: int) -> range:
        """Indices of the items that start at a position."""
        return range(self.begin[here], self.begin[here + 1])

    def reduced(self, prices: Sequence[int]) -> list[int]:
        """Weights less the prices of the slots that are taken."""
        prices = [*prices, 0]
        return [weight - prices[one] - prices[two] for weight, one, two in self._bills]

    def prefixes(self, values: Sequence[int]) -> list[int]:
        """The largest sum of disjoint items that end by each position, limits aside."""
        best = [0] * (self.length + 1)
        for here in range(self.length + 1):
            totals = [values[index] + best[self.first[index]] for index in self.ending[here]]
            best[here] = max(totals + best[here - 1 : here], default=0)
        return best

    def suffixes(self, values: Sequence[int]) -> tuple[list[int], list[int]]:
        """The largest sum of disjoint items that start at or after each position, limits aside.

        Also the item that such a choice has at the position, the first if several do, -1 if none.
        """
        best = [0] * (self.length + 1)
        choice = [-1] * self.length
        for here in reversed(range(self.length)):
            low, high = self.begin[here], self.begin[here + 1]
            totals = [
                value + best[after]
                for value, after in zip(values[low:high], self.after[low:high], strict=True)
            ]
            best[here] = max(totals)
            if best[here] >= best[here + 1]:
                choice[here] = low + totals.index(best[here])
            else:
                best[here] = best[here + 1]
        return best, choice


# Prices


class Relaxed(NamedTuple):
    """The problem without limits, where a unit of slot s costs `prices[s]`.

    No solution of the real problem weighs more than `bound`. `chosen` has the indices of the
    relaxed solution, the first in order, and `excess` its units of each slot over the capacity;
    `reduced` has the items' weights less prices.
    """

    prices: list[int]
    reduced: list[int]
    bound: int
    chosen: list[int]
    excess: dict[int, int]

    def is_optimal(self, owed: int | None) -> bool:
        """Whether `chosen` keeps every limit and leaves no unit that has a price."""
        return all(
            excess == 0 if slot == owed or self.prices[slot] else excess <= 0
            for slot, excess in self.excess.items()
        )


def relax(line: Line, prices: list[int]) -> Relaxed:
    """The relaxation at given prices: none negative but that of the owed slot."""
    reduced = line.reduced(prices)
    best, choice = line.suffixes(reduced)
    capacity = line.part.capacity
    excess = {slot: -capacity[slot] for slot in line.slots}
    chosen = []
    here = 0
    while here < line.length:
        index = choice[here]
        if index < 0:
            here += 1
            continue
        chosen.append(index)
        for slot in line.items[index].slots:
            excess[slot] += 1
        here = line.after[index]
    bound = best[0] + sum(prices[slot] * capacity[slot] for slot in line.slots)
    return Relaxed(prices, reduced, bound, chosen, excess)


def first_prices(line: Line) -> list[Relaxed]:
    """At prices of nothing, where limits do not matter, and of each slot's best item, where only
    limits do."""
    free = [0] * len(line.part.capacity)
    full = list(free)
    for item in line.items:
        for slot in item.slots:
            if slot != line.part.owed:
                full[slot] = max(full[slot], item.weight)
    return [relax(line, free), relax(line, full)]


def improve_prices(line: Line, relaxed: Relaxed, floor: int, steps: int) -> Relaxed:
    """Better prices by the subgradient method: dearer what is overused, cheaper what is left over.

    The length of a step is Polyak's, from the weight `floor` of a known solution, and halves after
    every five steps without a better bound.
    """
    best = relaxed
    halvings = stale = 0
    for _ in range(steps):
        norm = sum(excess * excess for excess in relaxed.excess.values())
        if best.bound <= floor or not norm:
            break
        stride = (relaxed.bound - floor) >> halvings
        prices = list(relaxed.prices)
        for slot, excess in relaxed.excess.items():
            prices[slot] += stride * excess // norm
            if slot != line.part.owed:
                prices[slot] = max(0, prices[slot])
        relaxed = relax(line, prices)
        stale += 1
        if relaxed.bound < best.bound:
            best, stale = relaxed, 0
        elif stale == 5:
            stale, halvings = 0, halvings + 1
    return best


def reach(line: Line, relaxed: Relaxed) -> list[int]:
    """For each item, a bound on the weight of the solutions that contain it."""
    before, (beyond, _) = line.prefixes(relaxed.reduced), line.suffixes(relaxed.reduced)
    rest = relaxed.bound - beyond[0]
    return [
        before[first] + value + beyond[after] + rest
        for first, after, value in zip(line.first, line.after, relaxed.reduced, strict=True)
    ]


def restrict(line: Line, relaxed: Relaxed, floor: int) -> tuple[Line, Relaxed]:
    """The same without the items that no solution of weight `floor` or more contains."""
    bounds = reach(line, relaxed)
    items = [item for item, bound in zip(line.items, bounds, strict=True) if bound >= floor]
    line = Line(line.part._replace(items=items))
    return line, relax(line, relaxed.prices)


# Sweep

_Tail = tuple[int, Any] | None
"""Indices of chosen items as a linked list, leftmost first: (index, the rest), or None."""
_Layer = dict[int, tuple[int, _Tail]]
"""States of one position: key to (potential, chosen items)."""


class Swept(NamedTuple):
    """The best solution found (None if none was), a bound on what was left out for want of width
    (None if nothing was), and the steps taken."""

    chosen: list[Item] | None
    lost: int | None
    work: int


class _Layout:
    """Where a state's key counts the units of each slot that are taken.

    A slot's field starts at such a value that one unit beyond the capacity sets its highest bit,
    the guard.
    """

    def __init__(self, line: Line) -> None:
        self.one: dict[int, int] = {}
        self.full: dict[int, int] = {}
        self.guards = self.start = shift = 0
        for slot in line.slots:
            capacity = line.part.capacity[slot]
            bits = capacity.bit_length()
            self.one[slot] = 1 << shift
            self.full[slot] = (1 << bits) - 1
            self.start += (self.full[slot] - capacity) << shift
            self.guards += 1 << (shift + bits)
            shift += bits + 1

    def left(self, key: int, slot: int) -> int:
        """Units that may still be taken."""
        return self.full[slot] - (key // self.one[slot] & self.full[slot])

    def forget(self, key: int, slot: int) -> int:
        """The key with the slot's field at zero."""
        return key & ~(self.full[slot] * self.one[slot])


def sweep(line: Line, relaxed: Relaxed, floor: int, width: int, work_limit: int) -> Swept | None:
    """The best solution of weight `floor` or more; None beyond the work limit.

    A state at a position is a choice among the items that start there or later. Its potential is
    its weight less the prices paid, plus the price of every unit that may still be taken. With the
    relaxed optimum of what ends by the position, that bounds all that the state can become. Once no
    item further left takes a slot, its field in the key is cleared and what is left of it loses its
    price; of the states that are then alike the one of highest potential stays, and of equals the
    first in order.
    """
    prices, reduced, owed = relaxed.prices, relaxed.reduced, line.part.owed
    layout = _Layout(line)
    taking = [sum(layout.one[slot] for slot in item.slots) for item in line.items]
    ahead = line.prefixes(reduced)
    room = line.prefixes([int(owed in item.slots) for item in line.items])
    potential = sum(prices[slot] * line.part.capacity[slot] for slot in line.slots)
    layers: list[_Layer] = [{} for _ in range(line.length + 1)]
    layers[line.length] = {layout.start: (potential, None)}
    lost: int | None = None
    work = 0
    for here in reversed(range(line.length)):
        need = floor - ahead[here]
        layer = layers[here] = layers[here + 1].copy()
        for index in line.starting(here):
            gain, units = reduced[index], taking[index]
            origin = layers[line.after[index]]
            work += len(origin)
            for key, (potential, tail) in origin.items():
                if potential + gain >= need and not (key + units) & layout.guards:
                    _keep(layer, key + units, (potential + gain, (index, tail)))
        if work > work_limit:
            return None
        for slot in line.opening[here]:
            if slot != owed:
                for there in range(here, line.reach[here] + 1):
                    layers[there] = _forget(layers[there], layout, slot, prices[slot])
        states = [(key, state) for key, state in layers[here].items() if state[0] >= need]
        if owed is not None:
            states = [entry for entry in states if layout.left(entry[0], owed) <= room[here]]
        if len(states) > width:
            states.sort(key=lambda entry: (-entry[1][0], entry[0]))
            bound = states[width][1][0] + ahead[here]
            lost = bound if lost is None else max(lost, bound)
            del states[width:]
        layers[here] = dict(states)
    if not layers[0]:
        return Swept(None, lost, work)
    ((_, tail),) = layers[0].values()
    chosen = []
    while tail is not None:
        index, tail = tail
        chosen.append(line.items[index])
    return Swept(chosen, lost, work)


def _keep(layer: _Layer, key: int, state: tuple[int, _Tail]) -> None:
    known = layer.get(key)
    if (
        known is None
        or state[0] > known[0]
        or (state[0] == known[0] and _is_earlier(state[1], known[1]))
    ):
        layer[key] = state


def _is_earlier(one: _Tail, other: _Tail) -> bool:
    while one is not None and other is not None and one is not other:
        if one[0] != other[0]:
            return one[0] < other[0]
        one, other = one[1], other[1]
    return False


def _forget(layer: _Layer, layout: _Layout, slot: int, price: int) -> _Layer:
    merged: _Layer = {}
    for key, (potential, tail) in layer.items():
        unsold = price * layout.left(key, slot)
        _keep(merged, layout.forget(key, slot), (potential - unsold, tail))
    return merged
