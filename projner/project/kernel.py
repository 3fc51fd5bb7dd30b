"""Exact matching of a whole table at once, compiled: one span per entity at most.

The same as `candidates.linked`, a score of `scores` and `match.solve` with its margins give
sentence by sentence, from flat arrays to flat arrays. Those modules say what is computed and why,
and are the tests' oracle. What is different here:

* Words are numbers, and what `evidence` looks at in them is found out once per distinct word.
* Links and evidence fill a table of source by target words, and sets of entities are the bits of an
  integer. Sums over a span grow with it, since candidates come by start, then by end.
* Entities whose best spans clash go straight to a dynamic programme over words and sets of
  entities. Where too many of them have to do with each other, the row is left to `match`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner import columns
from projner.columns import Lists
from projner.compiled import compiled
from projner.project import scores
from projner.project.match import SCALE

Array = npt.NDArray[Any]
Score = Literal["align", "align_gap", "evidence"]

MAX_CLASHING = 8
"""Entities that the programme tells apart: it has 2^8 states for each word."""
MAX_ENTITIES = 62
MAX_WEIGHT = 2.0**62
"""What a sum of weights in an int64 stays below."""

_ALIGN, _ALIGN_GAP, _EVIDENCE = range(3)
_LOWER, _UPPER, _CASELESS = scores.LOWER, scores.UPPER, scores.CASELESS


class Rows(NamedTuple):
    """A table as flat arrays: row r has the items from `*_offsets[r]` to `*_offsets[r + 1]`.

    Offsets are int64 (rows + 1,); entities, links and surface links int32 (items, 2), as `scores`
    takes them; similarities float64; words int32 numbers, unused but by `evidence`.
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
    """`scores.Forms` of words by number: letters float64, case int8, script int32.

    Scripts are numbered by name, from 1 on and below `scripts`; 0 is none.
    """

    letters: Array
    case: Array
    script: Array
    scripts: int


class Found(NamedTuple):
    """Chosen spans, by row and in reading order: flat arrays of one value for each.

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
    """Columns as the kernel takes them: entities with `start` and `end`, links with `source` and
    `target`, surface links with `score` too, and words with `code`, which only `evidence` needs."""
    if surface is None:
        surface = columns.no_lists(len(links.offsets) - 1, ["source", "target", "score"])
    no_words = np.empty(0, np.int32)
    return Rows(
        entities.offsets,
        entities.pairs("start", "end"),
        links.offsets,
        links.pairs("source", "target"),
        surface.offsets,
        surface.pairs("source", "target"),
        surface.fields["score"].astype(np.float64),
        source.offsets,
        source.fields.get("code", no_words),
        target.offsets,
        target.fields.get("code", no_words),
    )


def words(distinct: pa.StringArray | Sequence[str] = ()) -> Words:
    """What `evidence` looks at in words: letters by character, the rest in the first letter."""
    offsets, spelt, characters = columns.spell(pa.array(distinct, pa.string()))
    known = [scores.form(character) for character in characters]
    names = sorted({"", *(script for *_, script in known)})
    letters = np.array([letters for letters, *_ in known], np.int64)
    case = np.array([case for _, case, _ in known], np.int8)
    script = np.array([names.index(script) for *_, script in known], np.int32)
    return Words(*_words(offsets, spelt, letters, case, script, len(names)))


def match(
    table: Rows,
    known: Words,
    score: Score,
    max_words: int,
    weights: scores.Weights = scores.DEFAULT,
) -> Found:
    """The best spans for the entities of every row.

    Under `align` and `align_gap` surface links replace a word's own. Raises IndexError for entities
    and links outside their sentence.
    """
    settings = tuple(map(float, astuple(weights)))
    return Found(*_match(table, known, get_args(Score).index(score), max_words, settings))


@compiled
def _words(
    offsets: Array, spelt: Array, letters: Array, case: Array, script: Array, scripts: int
) -> Any:
    count = len(offsets) - 1
    letters_of, script_of = np.zeros(count), np.zeros(count, np.int32)
    case_of = np.full(count, _CASELESS, np.int8)
    for word in range(count):
        for character in spelt[offsets[word] : offsets[word + 1]]:
            letters_of[word] += letters[character]
            if script_of[word] == 0:
                case_of[word], script_of[word] = case[character], script[character]
    return letters_of, case_of, script_of, scripts


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
        n_source = table.source_offsets[row + 1] - table.source_offsets[row]
        n_target = table.target_offsets[row + 1] - table.target_offsets[row]
        _check(entities, links, surface, n_source, n_target)
        starts, ends = _candidates(entities, links, surface, n_target, max_words)
        scored = np.zeros((len(entities), len(starts)))
        if score == _EVIDENCE:
            similarities = _of_row(table.similarities, table.surface_offsets, row)
            source = _of_row(table.source, table.source_offsets, row)
            target = _of_row(table.target, table.target_offsets, row)
            _evidence(
                entities, links, surface, similarities, known, source, target,
                starts, ends, weights, scored,
            )  # fmt: skip
        else:
            linked = _replaced(links, surface, n_source, n_target)
            if score == _ALIGN:
                _align(entities, linked, starts, ends, scored)
            else:
                _align_gap(entities, linked, starts, ends, scored)
        chosen, margins = np.empty(len(entities), np.int64), np.zeros(len(entities), np.int64)
        if not _solve(_quantised(scored), starts, ends, n_target, chosen, margins):
            left[row] = True
            continue
        entity_at = np.full(n_target, -1)
        for entity, column in enumerate(chosen):
            if column >= 0:
                entity_at[starts[column]] = entity
        for entity in entity_at:
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
    for k in range(len(entities)):
        start, end = entities[k, 0], entities[k, 1]
        if not 0 <= start < end <= n_source:
            raise IndexError("an entity is empty or outside its sentence")
    for pairs in (links, surface):
        for k in range(len(pairs)):
            source, target = pairs[k, 0], pairs[k, 1]
            if not (0 <= source < n_source and 0 <= target < n_target):
                raise IndexError("a link is outside its sentences")


@compiled
def _quantised(scored: Array) -> Array:
    quantised = np.empty(scored.shape, np.int64)
    for entity in range(scored.shape[0]):
        for column in range(scored.shape[1]):
            quantised[entity, column] = np.rint(scored[entity, column] * SCALE)
    return quantised


# Candidates and scores


@compiled
def _candidates(
    entities: Array, links: Array, surface: Array, n_target: int, max_words: int
) -> tuple[Array, Array]:
    """Starts and ends of `candidates.linked`."""
    reaching = np.zeros(n_target, np.int64)
    for entity in range(len(entities)):
        start, end = entities[entity, 0], entities[entity, 1]
        for pairs in (links, surface):
            for k in range(len(pairs)):
                source, target = pairs[k, 0], pairs[k, 1]
                if start <= source < end:
                    reaching[target] |= 1 << entity
    words = np.empty(n_target, np.int64)
    reached = 0
    for word in range(n_target):
        if reaching[word]:
            words[reached] = word
            reached += 1
    starts = np.empty(reached * min(reached, max_words), np.int64)
    ends = np.empty(len(starts), np.int64)
    count = 0
    for index in range(reached):
        for last in words[index:reached]:
            if last - words[index] >= max_words:
                break
            if reaching[words[index]] & reaching[last]:
                starts[count], ends[count] = words[index], last + 1
                count += 1
    return starts[:count], ends[:count]


@compiled
def _replaced(links: Array, surface: Array, n_source: int, n_target: int) -> Array:
    """`scores.replace_links` as a table of source by target words: 1 where they are linked."""
    table = np.zeros((n_source, n_target))
    for k in range(len(links)):
        table[links[k, 0], links[k, 1]] = 1
    for k in range(len(surface)):
        for target in range(n_target):
            table[surface[k, 0], target] = 0
    for k in range(len(surface)):
        table[surface[k, 0], surface[k, 1]] = 1
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
def _align(entities: Array, table: Array, starts: Array, ends: Array, scored: Array) -> None:
    links = word = 0
    for entity, (start, end) in enumerate(entities):
        own = _received(table, start, end)
        for column in range(len(starts)):
            if column == 0 or starts[column] > starts[column - 1]:
                links, word = 0, starts[column]
            while word < ends[column]:
                links += int(own[word])
                word += 1
            both = end - start + ends[column] - starts[column]
            scored[entity, column] = 2 * links / both


@compiled
def _align_gap(entities: Array, table: Array, starts: Array, ends: Array, scored: Array) -> None:
    linked = _received(table, 0, len(table))
    held = elsewhere = unlinked = word = 0
    for entity, (start, end) in enumerate(entities):
        own = _received(table, start, end)
        most = np.count_nonzero(own)
        for column in range(len(starts)):
            if column == 0 or starts[column] > starts[column - 1]:
                held, elsewhere, unlinked, word = 0, 0, 0, starts[column]
            while word < ends[column]:
                held += own[word] > 0
                elsewhere += linked[word] > own[word] == 0
                unlinked += linked[word] == 0
                word += 1
            if own[starts[column]] and own[word - 1]:
                recall = held / most
                purity = held / (held + 0.5 * elsewhere + 0.1 * unlinked)
                scored[entity, column] = 2 * recall * purity / (recall + purity)


@compiled
def _evidence(
    entities: Array, links: Array, surface: Array, similarities: Array, known: Words,
    source: Array, target: Array, starts: Array, ends: Array, weights: Any, scored: Array,
) -> None:  # fmt: skip
    (
        likeness, loose, smoothing, trust, slack, shorter, longer, fertility, dissimilar,
        uncapitalised, min_score,
    ) = weights  # fmt: skip
    table = np.zeros((len(source), len(target)))
    for k in range(len(links)):
        table[links[k, 0], links[k, 1]] = 1
    for k in range(len(surface)):
        table[surface[k, 0], surface[k, 1]] += likeness * similarities[k]
    received = _received(table, 0, len(source))
    l_source, l_target = known.letters[source], known.letters[target]
    stretch = ((l_target.sum() + smoothing) / (l_source.sum() + smoothing)) ** trust
    same_script = _script(known, source) == _script(known, target)
    dealt, belongs, alike = np.empty(len(target)), np.empty(len(target)), np.empty(len(target))

    word = 0
    covered = in_dealt = in_right = in_wrong = in_belongs = in_alike = in_letters = 0.0
    lower = True
    for entity, (start, end) in enumerate(entities):
        reached = _deal(table, received, l_source, l_target, start, end, dealt, belongs)
        if reached == 0:
            continue
        alike[:] = 0
        for k in range(len(surface)):
            if start <= surface[k, 0] < end:
                j = surface[k, 1]
                alike[j] = max(alike[j], similarities[k])
        length = l_source[start:end].sum()
        name = _nameness(known, source, start, end)
        keeps_form = name if same_script and end - start > 1 else 0.0

        for column in range(len(starts)):
            if belongs[starts[column]] == 0:
                continue
            if column == 0 or starts[column] > starts[column - 1]:
                word = starts[column]
                covered = in_dealt = in_right = in_wrong = in_belongs = in_alike = in_letters = 0.0
                lower = True
            while word < ends[column]:
                letters = l_target[word]
                in_letters += letters
                in_dealt += dealt[word]
                in_belongs += belongs[word]
                in_right += letters * belongs[word]
                in_wrong += letters if received[word] > 0 else letters * loose
                in_alike += letters * alike[word]
                if belongs[word] > 0:
                    covered += letters
                lower = lower and known.case[target[word]] == _LOWER
                word += 1
            if belongs[word - 1] == 0:
                continue
            missing = max(0.0, length - reached - max(0.0, covered / stretch - reached))
            recall, precision = in_dealt / (reached + missing), in_right / in_wrong
            score = 2 * recall * precision / (recall + precision)

            log_ratio = np.log((covered + slack) / (stretch * length + slack))
            score /= 1 + 0.5 * (log_ratio / (shorter if log_ratio < 0 else longer)) ** 2

            if in_belongs > end - start:
                score /= (in_belongs / (end - start)) ** fertility

            likely = min(1.0, in_alike / min(length, in_letters))
            score *= 1 - dissimilar * keeps_form * (1 - likely)
            if lower:
                score *= 1 - uncapitalised * name
            if score >= min_score:
                scored[entity, column] = score


@compiled
def _deal(
    table: Array, received: Array, l_source: Array, l_target: Array, start: int, end: int,
    dealt: Array, belongs: Array,
) -> float:  # fmt: skip
    """Set the letters of an entity that target words get, and q; its letters in linked words."""
    dealt[:] = 0
    belongs[:] = 0
    reached = 0.0
    for i in range(start, end):
        total = best = 0.0
        for j in range(len(l_target)):
            pull = table[i, j] * l_target[j]
            total += pull
            best = max(best, pull)
        if l_source[i] == 0 or total == 0:
            continue
        reached += l_source[i]
        for j in range(len(l_target)):
            pull = table[i, j] * l_target[j]
            if pull > 0:
                dealt[j] += l_source[i] / total * pull
                belongs[j] += table[i, j] * pull / best / received[j]
    return reached


@compiled
def _nameness(known: Words, source: Array, start: int, end: int) -> float:
    """`scores.nameness`, whatever the length and script of an entity that has letters."""
    letters = capitalised = 0.0
    capitals = cased = 0
    for index, word in enumerate(source):
        capital = known.case[word] == _UPPER and index > 0
        if start <= index < end:
            letters += known.letters[word]
            if capital:
                capitalised += known.letters[word]
        else:
            capitals += capital
            cased += known.case[word] != _CASELESS and index > 0
    return capitalised / letters * (1 - capitals / cased) if cased else 0.0


@compiled
def _script(known: Words, words: Array) -> int:
    """The script of most words, the first by name if several are; 0 if none has one."""
    counts = np.zeros(known.scripts, np.int64)
    for word in words:
        counts[known.script[word]] += 1
    most = 0
    counts[0] = 0
    for script, count in enumerate(counts):
        if count > counts[most]:
            most = script
    return most


# The choice


@compiled
def _solve(
    scores: Array, starts: Array, ends: Array, n_words: int, chosen: Array, margins: Array
) -> bool:
    """Set each entity's candidate, -1 for none, and its margin; False if that is too much work.

    `scores` are quantised; margins come as 0.
    """
    spare = np.empty(len(chosen), np.int64)
    parts = _parts(scores, starts, ends, n_words)
    for first, part in enumerate(parts):
        if part & ((1 << first) - 1):
            continue
        total = _solve_part(scores, starts, ends, n_words, part, chosen)
        if total < 0:
            return False
        for entity, column in enumerate(chosen):
            if part >> entity & 1 and column >= 0:
                score = scores[entity, column]
                scores[entity, column] = 0
                rest = _solve_part(scores, starts, ends, n_words, part, spare)
                scores[entity, column] = score
                if rest < 0:
                    return False
                margins[entity] = total - rest
    return True


@compiled
def _parts(scores: Array, starts: Array, ends: Array, n_words: int) -> Array:
    """For each entity the set of those that it has to do with, by way of spans that overlap."""
    covering = np.zeros(n_words, np.int64)
    for entity in range(len(scores)):
        for column in range(len(starts)):
            if scores[entity, column] > 0:
                for word in range(starts[column], ends[column]):
                    covering[word] |= 1 << entity
    parts = np.empty(len(scores), np.int64)
    for entity in range(len(parts)):
        parts[entity] = 1 << entity
    for joint in covering:
        for entity in range(len(parts)):
            if joint >> entity & 1:
                joint |= parts[entity]
        for entity in range(len(parts)):
            if joint >> entity & 1:
                parts[entity] = joint
    return parts


@compiled
def _solve_part(
    scores: Array, starts: Array, ends: Array, n_words: int, part: int, chosen: Array
) -> int:
    """Set `chosen` for the entities of a part; their total score, or -1 if it is too much work."""
    total = members = 0
    clash = False
    for entity in range(len(scores)):
        if not part >> entity & 1:
            continue
        members += 1
        best = _best(scores[entity], starts, ends)
        chosen[entity] = best
        if best >= 0:
            total += scores[entity, best]
            for other in range(entity):
                beside = chosen[other]
                if part >> other & 1 and beside >= 0:
                    clash |= starts[beside] < ends[best] and starts[best] < ends[beside]
    if not clash:
        return total
    word = n_words * (n_words - 1) // 2 + 1
    unit = (n_words + 1) * word
    if members > MAX_CLASHING or float(total) * float(unit) > MAX_WEIGHT:
        return -1
    order = _in_groups(scores, part, members)
    return _programme(scores, starts, ends, n_words, order, word, unit, chosen)


@compiled
def _best(scores: Array, starts: Array, ends: Array) -> int:
    """The candidate of the highest score, then fewest words, then leftmost; -1 if none scores."""
    best, highest, fewest = -1, 0, 0
    for column, score in enumerate(scores):
        words = ends[column] - starts[column]
        if score > highest or (score == highest > 0 and words < fewest):
            best, highest, fewest = column, score, words
    return best


@compiled
def _in_groups(scores: Array, part: int, members: int) -> Array:
    """The entities of a part, those of identical scores together, by their first members."""
    order = np.empty(members, np.int64)
    count = 0
    for first in range(len(scores)):
        for entity in range(first, len(scores)):
            if part >> entity & 1 and (scores[entity] == scores[first]).all():
                order[count] = entity
                count += 1
                part ^= 1 << entity
    return order


@compiled
def _programme(
    scores: Array, starts: Array, ends: Array, n_words: int, order: Array, word: int, unit: int,
    chosen: Array,
) -> int:  # fmt: skip
    """Set `chosen` for the entities `order`, of which some want the same words; their total score.

    `best[p, f]` is the largest weight, as `match` has it, of spans from word p on for entities f, a
    set of places in `order`. Of equals the first in order is taken.
    """
    best = np.zeros((n_words + 1, 1 << len(order)), np.int64)
    column = len(starts) - 1
    for here in range(n_words - 1, -1, -1):
        for free in range(1 << len(order)):
            best[here, free] = best[here + 1, free]
        while column >= 0 and starts[column] == here:
            for place, entity in enumerate(order):
                score = scores[entity, column]
                if score > 0:
                    weight = score * unit - (ends[column] - here) * word - here
                    for free in range(1 << len(order)):
                        if free >> place & 1:
                            total = weight + best[ends[column], free ^ 1 << place]
                            best[here, free] = max(best[here, free], total)
            column -= 1
    total = here = 0
    free = (1 << len(order)) - 1
    for entity in order:
        chosen[entity] = -1
    for column in range(len(starts)):
        if starts[column] < here:
            continue
        for place, entity in enumerate(order):
            score = scores[entity, column]
            if free >> place & 1 and score > 0:
                weight = score * unit - (ends[column] - starts[column]) * word - starts[column]
                after = best[ends[column], free ^ 1 << place]
                if weight + after == best[starts[column], free]:
                    chosen[entity] = column
                    total += score
                    here, free = ends[column], free ^ 1 << place
                    break
    return int(total)
