"""Exact matching of a whole table at once, compiled: one span per entity at most.

The same as `candidates.linked`, a score of `scores` and `match.solve` with its margins give sentence
by sentence, from flat arrays to flat arrays; those modules say what is computed and why, and are
the tests' oracle. Differences:

* Words are numbers, and what a score looks at in them is known once per distinct word.
* Evidence and links are one table of source words by target words; sets of entities are the bits of
  an integer.
* Entities that clash go straight to a dynamic programme over positions and sets of free entities,
  so that a sentence where too many of them have to do with each other is left to `match`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from projner.columns import Lists
from projner.compiled import compiled
from projner.project import scores
from projner.project.match import SCALE

Array = npt.NDArray[Any]

MAX_CLASHING = 8
"""Entities that the dynamic programme tells apart: it has 2^8 states a word."""
MAX_ENTITIES = 62
MAX_TOTAL = 2.0**62
"""Weights below are added in an int64."""

SCORES = ("align", "align_gap", "evidence")
_ALIGN, _ALIGN_GAP, _EVIDENCE = range(3)
_LOWER, _UPPER, _CASELESS = scores.LOWER, scores.UPPER, scores.CASELESS


class Rows(NamedTuple):
    """A table as flat arrays: row r has the items from `*_offsets[r]` to `*_offsets[r + 1]`.

    Offsets are int64 (rows + 1,); entities, links and surface links int32 (items, 2), as `scores`
    takes them; similarities float64; words int32 codes into `Words`, unused but by `evidence`.
    """

    entity_offsets: Array
    entities: Array
    link_offsets: Array
    links: Array
    surface_offsets: Array
    surface: Array
    similarities: Array
    source_offsets: Array
    source: Array
    target_offsets: Array
    target: Array


class Words(NamedTuple):
    """`scores.Forms` of distinct words: letters float64, case int8, script int32 (0: none)."""

    letters: Array
    case: Array
    script: Array


class Found(NamedTuple):
    """Chosen spans, rows in order and each in reading order: flat arrays of equal length.

    Scores and margins are float64. `left`, bool (rows,), marks the rows that were not solved.
    """

    row: Array
    entity: Array
    start: Array
    end: Array
    score: Array
    margin: Array
    left: Array


def rows(
    entities: Lists, links: Lists, surface: Lists | None, source: Lists, target: Lists
) -> Rows:
    """Columns as the kernel takes them: entities with `start` and `end`, links with `source`,
    `target` and `score`, words with `code`, if at all."""
    none = np.zeros(len(links.offsets), np.int64)
    return Rows(
        entities.offsets,
        entities.pairs("start", "end"),
        links.offsets,
        links.pairs("source", "target"),
        surface.offsets if surface else none,
        surface.pairs("source", "target") if surface else np.zeros((0, 2), np.int32),
        np.array(surface.fields["score"] if surface else [], np.float64),
        source.offsets,
        np.array(source.fields.get("code", []), np.int32),
        target.offsets,
        np.array(target.fields.get("code", []), np.int32),
    )


def words(distinct: Sequence[str]) -> Words:
    """What `evidence` looks at in each word."""
    known = [scores.form(word) for word in distinct]
    names = sorted({"", *(script for *_, script in known)})
    code = {name: index for index, name in enumerate(names)}
    return Words(
        np.array([letters for letters, *_ in known], np.float64),
        np.array([case for _, case, _ in known], np.int8),
        np.array([code[script] for *_, script in known], np.int32),
    )


def match(
    table: Rows,
    known: Words,
    score: Literal["align", "align_gap", "evidence"],
    max_words: int,
    weights: scores.Weights = scores.DEFAULT,
) -> Found:
    """The best spans for the entities of every row.

    Under `align` and `align_gap` surface links replace a word's own. Raises IndexError for entities
    or links outside their sentence.
    """
    settings = tuple(map(float, astuple(weights)))
    return Found(*_match(table, known, SCORES.index(score), max_words, settings))


@compiled
def _match(table: Rows, known: Words, score: int, max_words: int, weights: Any) -> Any:
    count = len(table.entities)
    row_of, entity_of = np.empty(count, np.int64), np.empty(count, np.int32)
    start_of, end_of = np.empty(count, np.int32), np.empty(count, np.int32)
    score_of, margin_of = np.empty(count), np.empty(count)
    left = np.zeros(len(table.entity_offsets) - 1, np.bool_)
    filled = 0
    for row in range(len(left)):
        entities = _of_row(table.entities, table.entity_offsets, row)
        if not len(entities):
            continue
        if len(entities) > MAX_ENTITIES:
            left[row] = True
            continue
        links = _of_row(table.links, table.link_offsets, row)
        surface = _of_row(table.surface, table.surface_offsets, row)
        similarities = _of_row(table.similarities, table.surface_offsets, row)
        n_source = table.source_offsets[row + 1] - table.source_offsets[row]
        n_target = table.target_offsets[row + 1] - table.target_offsets[row]
        _check(entities, links, surface, n_source, n_target)
        starts, ends = _candidates(entities, links, surface, n_target, max_words)
        scored = np.zeros((len(entities), len(starts)))
        if score == _EVIDENCE:
            source = _of_row(table.source, table.source_offsets, row)
            target = _of_row(table.target, table.target_offsets, row)
            evidence = _evidence_table(links, surface, similarities, n_source, n_target, weights[0])
            _evidence(
                entities, evidence, surface, similarities, known, source, target,
                starts, ends, weights, scored,
            )  # fmt: skip
        else:
            linked = _replaced_table(links, surface, n_source, n_target)
            if score == _ALIGN:
                _align(entities, linked, starts, ends, scored)
            else:
                _align_gap(entities, linked, starts, ends, scored)
        quantised = np.rint(scored * SCALE).astype(np.int64)
        chosen = np.full(len(entities), -1)
        margins = np.zeros(len(entities), np.int64)
        if not _solve(quantised, starts, ends, chosen, margins):
            left[row] = True
            continue
        starting = np.full(n_target, -1)
        for entity, column in enumerate(chosen):
            if column >= 0:
                starting[starts[column]] = entity
        for entity in starting:
            if entity >= 0:
                column = chosen[entity]
                row_of[filled], entity_of[filled] = row, entity
                start_of[filled], end_of[filled] = starts[column], ends[column]
                score_of[filled] = scored[entity, column]
                margin_of[filled] = margins[entity] / SCALE
                filled += 1
    return (
        row_of[:filled], entity_of[:filled], start_of[:filled], end_of[:filled],
        score_of[:filled], margin_of[:filled], left,
    )  # fmt: skip


@compiled
def _of_row(items: Array, offsets: Array, row: int) -> Array:
    return items[offsets[row] : offsets[row + 1]]


@compiled
def _check(entities: Array, links: Array, surface: Array, n_source: int, n_target: int) -> None:
    for start, end in entities:
        if not 0 <= start < end <= n_source:
            raise IndexError("an entity is empty or outside its sentence")
    for pairs in (links, surface):
        for source, target in pairs:
            if not (0 <= source < n_source and 0 <= target < n_target):
                raise IndexError("a link is outside its sentences")


# Candidates and scores


@compiled
def _candidates(
    entities: Array, links: Array, surface: Array, n_target: int, max_words: int
) -> tuple[Array, Array]:
    """`candidates.linked`: starts and ends."""
    reached = np.zeros(n_target, np.int64)
    for entity, (start, end) in enumerate(entities):
        for pairs in (links, surface):
            for source, target in pairs:
                if start <= source < end:
                    reached[target] |= 1 << entity
    edges = np.flatnonzero(reached)
    starts = np.empty(len(edges) * min(len(edges), max_words), np.int64)
    ends = np.empty_like(starts)
    count = 0
    for index, first in enumerate(edges):
        for last in edges[index:]:
            if last - first >= max_words:
                break
            if reached[first] & reached[last]:
                starts[count], ends[count] = first, last + 1
                count += 1
    return starts[:count], ends[:count]


@compiled
def _replaced_table(links: Array, surface: Array, n_source: int, n_target: int) -> Array:
    """1 where `scores.replace_links` leaves a link."""
    table = np.zeros((n_source, n_target))
    for source, target in links:
        table[source, target] = 1
    for source, _ in surface:
        table[source] = 0
    for source, target in surface:
        table[source, target] = 1
    return table


@compiled
def _evidence_table(
    links: Array, surface: Array, similarities: Array, n_source: int, n_target: int, weight: float
) -> Array:
    """The e(i, j) of `scores.evidence`."""
    table = np.zeros((n_source, n_target))
    for source, target in links:
        table[source, target] = 1
    for index, (source, target) in enumerate(surface):
        table[source, target] += weight * similarities[index]
    return table


@compiled
def _received(table: Array, start: int, end: int) -> Array:
    """What each target word has from the source words `start` to `end`."""
    received = np.zeros(table.shape[1])
    for source in range(start, end):
        for target in range(len(received)):
            received[target] += table[source, target]
    return received


@compiled
def _running(values: Array) -> Array:
    """Sums of the values before each place: the sum over a span is the difference of two."""
    sums = np.zeros(len(values) + 1)
    for index, value in enumerate(values):
        sums[index + 1] = sums[index] + value
    return sums


@compiled
def _align(entities: Array, table: Array, starts: Array, ends: Array, scored: Array) -> None:
    for entity, (start, end) in enumerate(entities):
        links = _running(_received(table, start, end))
        for column, (first, stop) in enumerate(zip(starts, ends)):  # noqa: B905
            both = end - start + stop - first
            scored[entity, column] = 2 * (links[stop] - links[first]) / both


@compiled
def _align_gap(entities: Array, table: Array, starts: Array, ends: Array, scored: Array) -> None:
    linked = _received(table, 0, len(table)) > 0
    unlinked = _running(~linked)
    for entity, (start, end) in enumerate(entities):
        own = _received(table, start, end) > 0
        mine, others = _running(own), _running(linked & ~own)
        for column, (first, stop) in enumerate(zip(starts, ends)):  # noqa: B905
            if own[first] and own[stop - 1]:
                held = mine[stop] - mine[first]
                elsewhere = others[stop] - others[first]
                recall = held / mine[-1]
                purity = held / (
                    held + 0.5 * elsewhere + 0.1 * (unlinked[stop] - unlinked[first])
                )
                scored[entity, column] = 2 * recall * purity / (recall + purity)


@compiled
def _evidence(
    entities: Array, table: Array, surface: Array, similarities: Array, known: Words,
    source: Array, target: Array, starts: Array, ends: Array, weights: Any, scored: Array,
) -> None:  # fmt: skip
    (
        _, loose, smoothing, trust, slack, shorter, longer, fertility, dissimilar, uncapitalised,
        min_score,
    ) = weights  # fmt: skip
    l_source, l_target = known.letters[source], known.letters[target]
    received = _received(table, 0, len(source))
    stretch = ((l_target.sum() + smoothing) / (l_source.sum() + smoothing)) ** trust
    same_script = _script(known.script, source) == _script(known.script, target)
    capital, cased = _running(known.case[source] == _UPPER), _running(known.case[source] != _CASELESS)
    # The first word of a sentence does not count.
    capital[1:] -= capital[1]
    cased[1:] -= cased[1]

    in_wrong = _running(np.where(received > 0, 1.0, loose) * l_target)
    in_letters = _running(l_target)
    capitals = _running(known.case[target] != _LOWER)

    for entity, (start, end) in enumerate(entities):
        dealt, share, alike = np.zeros(len(target)), np.zeros(len(target)), np.zeros(len(target))
        length = reached = capitalised = 0.0
        for i in range(start, end):
            length += l_source[i]
            capitalised += l_source[i] * (capital[i + 1] - capital[i])
            if l_source[i] == 0:
                continue
            pull = table[i] * l_target
            total, best = pull.sum(), pull.max()
            if total > 0:
                reached += l_source[i]
                dealt += l_source[i] / total * pull
                share += 1 / best * (table[i] * pull)
        if not share.any():
            continue
        belongs = share / np.where(received > 0, received, 1)
        for index, (i, j) in enumerate(surface):
            if start <= i < end:
                alike[j] = max(alike[j], similarities[index])

        around = cased[-1] - (cased[end] - cased[start])
        name = 0.0
        if around > 0:
            named_around = capital[-1] - (capital[end] - capital[start])
            name = capitalised / length * (1 - named_around / around)
        lose_form = dissimilar * name if same_script and end - start > 1 else 0.0

        in_covered, in_dealt = _running(l_target * (belongs > 0)), _running(dealt)
        in_right, in_belongs = _running(l_target * belongs), _running(belongs)
        in_alike = _running(alike * l_target)
        for column, (first, stop) in enumerate(zip(starts, ends)):  # noqa: B905
            if not (belongs[first] > 0 and belongs[stop - 1] > 0):
                continue
            covered = in_covered[stop] - in_covered[first]
            spare = max(0.0, covered / stretch - reached)
            recall = (in_dealt[stop] - in_dealt[first]) / (
                reached + max(0.0, length - reached - spare)
            )
            precision = (in_right[stop] - in_right[first]) / (in_wrong[stop] - in_wrong[first])
            score = 2 * recall * precision / (recall + precision)

            log_ratio = np.log((covered + slack) / (stretch * length + slack))
            score /= 1 + 0.5 * (log_ratio / (shorter if log_ratio < 0 else longer)) ** 2

            score /= max(1.0, (in_belongs[stop] - in_belongs[first]) / (end - start)) ** fertility

            resembling = in_alike[stop] - in_alike[first]
            likely = min(1.0, resembling / min(length, in_letters[stop] - in_letters[first]))
            score *= 1 - lose_form * (1 - likely)
            if capitals[stop] == capitals[first]:
                score *= 1 - uncapitalised * name
            if score >= min_score:
                scored[entity, column] = score


@compiled
def _script(scripts: Array, words: Array) -> int:
    """The script of most words, the first by name if several are; 0 if none has one."""
    counts = np.zeros(scripts.max() + 1, np.int64)
    for word in words:
        counts[scripts[word]] += 1
    counts[0] = 0
    return counts.argmax()


# The choice


@compiled
def _solve(scores: Array, starts: Array, ends: Array, chosen: Array, margins: Array) -> bool:
    """Set the chosen candidate and the margin of each entity; False if that is too much work.

    `scores` are quantised; `chosen` and `margins` come as -1 and 0, which stay where an entity has
    no span.
    """
    spare = np.empty_like(chosen)
    done = 0
    for part in _parts(scores, starts, ends):
        if part & done:
            continue
        done |= part
        total = _solve_part(scores, starts, ends, part, chosen)
        if total < 0:
            return False
        for entity, column in enumerate(chosen):
            if part >> entity & 1 and column >= 0:
                score = scores[entity, column]
                scores[entity, column] = 0
                rest = _solve_part(scores, starts, ends, part, spare)
                scores[entity, column] = score
                if rest < 0:
                    return False
                margins[entity] = total - rest
    return True


@compiled
def _parts(scores: Array, starts: Array, ends: Array) -> Array:
    """For each entity the set of those that it has to do with, through spans that overlap."""
    parts = np.array([1 << entity for entity in range(len(scores))])
    for word in range(ends.max() if len(ends) else 0):
        joint = 0
        for entity in range(len(scores)):
            for column in range(len(starts)):
                if starts[column] <= word < ends[column] and scores[entity, column] > 0:
                    joint |= parts[entity]
                    break
        for entity in range(len(parts)):
            if joint >> entity & 1:
                parts[entity] = joint
    return parts


@compiled
def _solve_part(scores: Array, starts: Array, ends: Array, part: int, chosen: Array) -> int:
    """Set `chosen` for the entities of a part; their total score, or -1 if that is too much work."""
    total = 0
    clash = False
    taken = np.zeros(ends.max() if len(ends) else 0, np.bool_)
    members = 0
    for entity in range(len(scores)):
        if not part >> entity & 1:
            continue
        members += 1
        chosen[entity] = best = -1
        for column in range(len(starts)):
            score = scores[entity, column]
            if score > 0 and (
                best < 0
                or score > scores[entity, best]
                or (
                    score == scores[entity, best]
                    and ends[column] - starts[column] < ends[best] - starts[best]
                )
            ):
                best = column
        if best >= 0:
            chosen[entity] = best
            total += scores[entity, best]
            clash |= taken[starts[best] : ends[best]].any()
            taken[starts[best] : ends[best]] = True
    if not clash:
        return total
    word = len(taken) * (len(taken) - 1) // 2 + 1
    unit = (len(taken) + 1) * word
    if members > MAX_CLASHING or float(total) * float(unit) > MAX_TOTAL:
        return -1
    return _programme(scores, starts, ends, part, members, word, unit, chosen)


@compiled
def _programme(
    scores: Array, starts: Array, ends: Array, part: int, members: int, word: int, unit: int,
    chosen: Array,
) -> int:  # fmt: skip
    """The same for entities whose best spans overlap: what `search.solve_part` does, exactly.

    `best[p, f]` is the largest weight (`match`) of spans from word p on for entities of the set f.
    """
    order = _in_groups(scores, part, members)
    length = ends.max()
    best = np.zeros((length + 1, 1 << members), np.int64)
    column = len(starts)
    for here in range(length - 1, -1, -1):
        best[here] = best[here + 1]
        while column > 0 and starts[column - 1] == here:
            column -= 1
            for bit, entity in enumerate(order):
                if scores[entity, column] > 0:
                    weight = scores[entity, column] * unit - (ends[column] - here) * word - here
                    for free in range(1 << members):
                        if free >> bit & 1:
                            total = weight + best[ends[column], free ^ 1 << bit]
                            best[here, free] = max(best[here, free], total)
    total = here = 0
    free = (1 << members) - 1
    for entity in order:
        chosen[entity] = -1
    for column in range(len(starts)):
        if starts[column] < here:
            continue
        for bit, entity in enumerate(order):
            score = scores[entity, column]
            if free >> bit & 1 and score > 0:
                weight = score * unit - (ends[column] - starts[column]) * word - starts[column]
                after = best[ends[column], free ^ 1 << bit]
                if weight + after == best[starts[column], free]:
                    chosen[entity] = column
                    total += score
                    here = ends[column]
                    free ^= 1 << bit
                    break
    return total


@compiled
def _in_groups(scores: Array, part: int, members: int) -> Array:
    """The entities of a part, those of identical scores together, by their first members."""
    order = np.empty(members, np.int64)
    count = 0
    done = 0
    for first in range(len(scores)):
        for entity in range(first, len(scores)):
            if (part & ~done) >> entity & 1 and (scores[entity] == scores[first]).all():
                order[count] = entity
                count += 1
                done |= 1 << entity
    return order
