"""Candidates and scores of a whole table at once, compiled.

The same as `candidates` and `scores` give sentence by sentence, from flat arrays to flat arrays; what
is computed and why is said there, and they are the tests' oracle. What is different here:

* Words are numbers, and what `evidence` looks at in them is found out once per distinct word.
* Links and evidence fill a table of source by target words, and sets of entities are the bits of an
  integer. Sums over a span grow with it, since candidates come by start, then by end.

Each score is compiled when it is first asked for, and `exact` chooses.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner import columns, spelling
from projner.columns import Lists
from projner.compiled import compiled
from projner.project import scores
from projner.project.exact import MAX_ENTITIES, Matrices

Array = npt.NDArray[Any]

MIN_NER = scores.MIN_NER
_LOWER, _UPPER, _CASELESS = scores.LOWER, scores.UPPER, scores.CASELESS


class Rows(NamedTuple):
    """A table as flat arrays: row r has the items from `*_offsets[r]` to `*_offsets[r + 1]`.

    Offsets are int64 (rows + 1,); entities, links and surface links int32 (items, 2), as `scores`
    takes them; similarities float64. Of words there are only the offsets.
    """

    entity_offsets: Array
    entities: Array
    link_offsets: Array
    links: Array
    surface_offsets: Array
    surface: Array
    similarities: Array
    source_offsets: Array
    target_offsets: Array


class Forms(NamedTuple):
    """What `scores.Forms` says of the words of one side, by word: int32 arrays.

    Scripts are numbered from 1 on; 0 is none. `rank` is their order by name.
    """

    letters: Array
    case: Array
    script: Array
    rank: Array


class Spans(NamedTuple):
    """`candidates.Spans` of rows: int64 arrays, and offsets (rows + 1,) of each row's."""

    offsets: Array
    starts: Array
    ends: Array

    @property
    def most_words(self) -> int:
        """The most that one has."""
        return int((self.ends - self.starts).max(initial=0))


class Tagged(NamedTuple):
    """How likely words begin and continue an entity of each class: float64 (words, classes), and
    offsets (rows + 1,) of each row's words."""

    offsets: Array
    begins: Array
    continues: Array


def rows(
    entities: Lists, links: Lists | None, surface: Lists | None, source: Lists, target: Lists
) -> Rows:
    """Columns as the kernel takes them: entities with `start` and `end`, links with `source` and
    `target`, surface links with `score` too, and words.

    Raises IndexError for entities and links outside their sentence.
    """
    count = len(entities.offsets) - 1
    if links is None:
        links = columns.no_lists(count, ["source", "target"])
    if surface is None:
        surface = columns.no_lists(count, ["source", "target", "score"])
    table = Rows(
        entities.offsets,
        entities.pairs("start", "end"),
        links.offsets,
        links.pairs("source", "target"),
        surface.offsets,
        surface.pairs("source", "target"),
        surface.fields["score"].astype(np.float64),
        source.offsets,
        target.offsets,
    )
    _check(table)
    return table


_SCRIPTS = [""]


def _describe(character: str) -> tuple[int, int, int]:
    letters, case, script = scores.form(character)
    if script not in _SCRIPTS:
        _SCRIPTS.append(script)
    return letters, case, _SCRIPTS.index(script)


_CHARACTERS = spelling.Characters(_describe, 3)


def forms(words: pa.StringArray, chosen: Array) -> Forms:
    """What `evidence` looks at in the words that are `chosen` (bool, one per word): letters by
    character, the rest in the first letter."""
    held = spelling.words(words)
    letters, case, script = spelling.sums_and_firsts(held, chosen, _CHARACTERS, _CASELESS)
    return Forms(letters, case, script, np.argsort(np.argsort(_SCRIPTS)))


def linked(table: Rows, max_words: int) -> Spans:
    """`candidates.linked` of rows, by links and surface links; none where there are more entities
    than `exact` knows."""
    return Spans(*_linked(table, max_words))


def ngrams(table: Rows, max_words: int) -> Spans:
    """`candidates.ngrams` of rows; none where there are no entities."""
    return Spans(*_ngrams(table, max_words))


def seen(table: Rows, found: Lists, max_words: int) -> Spans:
    """`candidates.seen` of rows: among the spans `found`, with `start` and `end`.

    Raises IndexError for one outside its sentence.
    """
    row = np.repeat(np.arange(len(found.offsets) - 1), np.diff(found.offsets))
    starts, ends = (found.fields[name].astype(np.int64) for name in ("start", "end"))
    sizes = np.diff(table.target_offsets)
    if not ((starts >= 0) & (starts < ends) & (ends <= sizes[row])).all():
        raise IndexError("what a tagger found is outside its sentence")
    short = ends - starts <= max_words
    spans = np.unique(np.stack([row, starts, ends], axis=1)[short], axis=0)
    offsets = np.searchsorted(spans[:, 0], np.arange(len(sizes) + 1))
    return Spans(offsets, *spans[:, 1:].T.copy())


def matrices(table: Rows, spans: Spans, scored: Array) -> Matrices:
    """What `exact` solves."""
    return Matrices(table.entity_offsets, *_bounds(table, spans), spans.starts, spans.ends, scored)


def align(table: Rows, spans: Spans) -> Array:
    """`scores.align`, flat as `Matrices` has it; surface links replace a word's own."""
    return np.asarray(_align_rows(table, spans, *_bounds(table, spans)[1:]))


def align_gap(table: Rows, spans: Spans) -> Array:
    """`scores.align_gap`; surface links replace a word's own."""
    return np.asarray(_align_gap_rows(table, spans, *_bounds(table, spans)[1:]))


def evidence(
    table: Rows,
    spans: Spans,
    source: Forms,
    target: Forms,
    weights: scores.Weights = scores.DEFAULT,
) -> Array:
    """`scores.evidence`, by the forms of words on either side, of rows with spans at least."""
    settings = tuple(map(float, astuple(weights)))
    bounds = _bounds(table, spans)[1:]
    return np.asarray(_evidence_rows(table, spans, *bounds, source, target, settings))


def ner(table: Rows, spans: Spans, tagged: Tagged, classes: Array) -> Array:
    """`scores.ner`; `classes`, int64, has the number of each entity's class, -1 for one that the
    tagger does not know.

    Raises IndexError unless there are probabilities for each target word of rows with spans.
    """
    _check_tagged(table, spans, tagged)
    powers = scores.ALPHA ** np.arange(spans.most_words)
    return np.asarray(_ner_rows(table, spans, *_bounds(table, spans)[1:], tagged, classes, powers))


def ner_spans(table: Rows, spans: Spans, tagged: Tagged) -> Array:
    """`scores.ner_spans`. Raises IndexError as `ner` does."""
    _check_tagged(table, spans, tagged)
    powers = scores.ALPHA ** np.arange(spans.most_words)
    return np.asarray(_ner_spans_rows(table, spans, *_bounds(table, spans)[1:], tagged, powers))


def _check_tagged(table: Rows, spans: Spans, tagged: Tagged) -> None:
    lacking = np.diff(table.target_offsets) != np.diff(tagged.offsets)
    if (lacking & (np.diff(spans.offsets) > 0)).any():
        raise IndexError("there are not as many probabilities as target words")


def pairs(table: Rows, spans: Spans, chosen: Lists, values: Array) -> Array:
    """Scores that are given, `values`, for some pairs `chosen`: `source_index`, `start`, `end`.

    Raises ValueError for a pair that is none of the row's.
    """
    entities, starts, ends = (
        chosen.fields[name].astype(np.int64) for name in ("source_index", "start", "end")
    )
    (bounds,) = _bounds(table, spans)[1:]
    scored = _pairs_rows(table, spans, bounds, chosen.offsets, entities, starts, ends, values)
    return np.asarray(scored)


def _bounds(table: Rows, spans: Spans) -> tuple[Array, Array]:
    """Offsets of the spans, and of the scores, of each row."""
    sizes = np.diff(table.entity_offsets) * np.diff(spans.offsets)
    return spans.offsets, np.concatenate([[0], np.cumsum(sizes)])


@compiled
def _of_row(items: Array, offsets: Array, row: int) -> Array:
    return items[offsets[row] : offsets[row + 1]]


@compiled
def _forms_of(forms: Forms, offsets: Array, row: int) -> Forms:
    return Forms(
        _of_row(forms.letters, offsets, row),
        _of_row(forms.case, offsets, row),
        _of_row(forms.script, offsets, row),
        forms.rank,
    )


@compiled
def _check(table: Rows) -> None:
    for row in range(len(table.entity_offsets) - 1):
        n_source = table.source_offsets[row + 1] - table.source_offsets[row]
        n_target = table.target_offsets[row + 1] - table.target_offsets[row]
        for k in range(table.entity_offsets[row], table.entity_offsets[row + 1]):
            if not 0 <= table.entities[k, 0] < table.entities[k, 1] <= n_source:
                raise IndexError("an entity is empty or outside its sentence")
        for offsets, pairs in (
            (table.link_offsets, table.links),
            (table.surface_offsets, table.surface),
        ):
            for k in range(offsets[row], offsets[row + 1]):
                if not (0 <= pairs[k, 0] < n_source and 0 <= pairs[k, 1] < n_target):
                    raise IndexError("a link is outside its sentences")


# Candidates


@compiled
def _with_room(values: Array, count: int) -> Array:
    """`values`, or a copy at least twice as long if there is no room for so many."""
    if count <= len(values):
        return values
    longer = np.empty(2 * max(count, len(values)), np.int64)
    for index, value in enumerate(values):
        longer[index] = value
    return longer


@compiled
def _linked(table: Rows, max_words: int) -> tuple[Array, Array, Array]:
    offsets = np.zeros(len(table.entity_offsets), np.int64)
    starts, ends = np.empty(1024, np.int64), np.empty(1024, np.int64)
    count = 0
    for row in range(len(offsets) - 1):
        offsets[row + 1] = count
        entities = _of_row(table.entities, table.entity_offsets, row)
        if not 0 < len(entities) <= MAX_ENTITIES:
            continue
        n_target = table.target_offsets[row + 1] - table.target_offsets[row]
        reaching = np.zeros(n_target, np.int64)
        links = _of_row(table.links, table.link_offsets, row)
        surface = _of_row(table.surface, table.surface_offsets, row)
        for entity in range(len(entities)):
            start, end = entities[entity, 0], entities[entity, 1]
            for pairs in (links, surface):
                for k in range(len(pairs)):
                    source, target = pairs[k, 0], pairs[k, 1]
                    if start <= source < end:
                        reaching[target] |= 1 << entity
        reached = 0
        for word in range(n_target):
            reached += reaching[word] != 0
        room = count + reached * min(reached, max_words)
        starts, ends = _with_room(starts, room), _with_room(ends, room)
        for word in range(n_target):
            if reaching[word]:
                for last in range(word, min(n_target, word + max_words)):
                    if reaching[word] & reaching[last]:
                        starts[count], ends[count] = word, last + 1
                        count += 1
        offsets[row + 1] = count
    return offsets, starts[:count], ends[:count]


@compiled
def _ngrams(table: Rows, max_words: int) -> tuple[Array, Array, Array]:
    offsets = np.zeros(len(table.entity_offsets), np.int64)
    for row in range(len(offsets) - 1):
        n_target = table.target_offsets[row + 1] - table.target_offsets[row]
        most = min(n_target, max_words)
        count = most * n_target - most * (most - 1) // 2
        if table.entity_offsets[row + 1] == table.entity_offsets[row]:
            count = 0
        offsets[row + 1] = offsets[row] + count
    starts, ends = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.int64)
    for row in range(len(offsets) - 1):
        if offsets[row + 1] > offsets[row]:
            n_target = table.target_offsets[row + 1] - table.target_offsets[row]
            place = offsets[row]
            for word in range(n_target):
                for end in range(word + 1, min(n_target, word + max_words) + 1):
                    starts[place], ends[place] = word, end
                    place += 1
    return offsets, starts, ends


# Scores by links


@compiled
def _align_rows(table: Rows, spans: Spans, bounds: Array) -> Array:
    scored = np.zeros(bounds[-1])
    for row in range(len(bounds) - 1):
        if bounds[row + 1] > bounds[row]:
            entities = _of_row(table.entities, table.entity_offsets, row)
            starts = _of_row(spans.starts, spans.offsets, row)
            ends = _of_row(spans.ends, spans.offsets, row)
            own = _of_row(scored, bounds, row).reshape(len(entities), len(starts))
            _align(entities, _replaced(table, row), starts, ends, own)
    return scored


@compiled
def _align_gap_rows(table: Rows, spans: Spans, bounds: Array) -> Array:
    scored = np.zeros(bounds[-1])
    for row in range(len(bounds) - 1):
        if bounds[row + 1] > bounds[row]:
            entities = _of_row(table.entities, table.entity_offsets, row)
            starts = _of_row(spans.starts, spans.offsets, row)
            ends = _of_row(spans.ends, spans.offsets, row)
            own = _of_row(scored, bounds, row).reshape(len(entities), len(starts))
            _align_gap(entities, _replaced(table, row), starts, ends, own)
    return scored


@compiled
def _evidence_rows(
    table: Rows, spans: Spans, bounds: Array, source: Forms, target: Forms, weights: Any
) -> Array:
    scored = np.zeros(bounds[-1])
    for row in range(len(bounds) - 1):
        if bounds[row + 1] > bounds[row]:
            entities = _of_row(table.entities, table.entity_offsets, row)
            starts = _of_row(spans.starts, spans.offsets, row)
            ends = _of_row(spans.ends, spans.offsets, row)
            own = _of_row(scored, bounds, row).reshape(len(entities), len(starts))
            _evidence(
                entities,
                _of_row(table.links, table.link_offsets, row),
                _of_row(table.surface, table.surface_offsets, row),
                _of_row(table.similarities, table.surface_offsets, row),
                _forms_of(source, table.source_offsets, row),
                _forms_of(target, table.target_offsets, row),
                starts, ends, weights, own,
            )  # fmt: skip
    return scored


@compiled
def _replaced(rows: Rows, row: int) -> Array:
    """`scores.replace_links` as a table of source by target words: 1 where they are linked."""
    links = _of_row(rows.links, rows.link_offsets, row)
    surface = _of_row(rows.surface, rows.surface_offsets, row)
    n_source = rows.source_offsets[row + 1] - rows.source_offsets[row]
    n_target = rows.target_offsets[row + 1] - rows.target_offsets[row]
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
    entities: Array, links: Array, surface: Array, similarities: Array, source: Forms,
    target: Forms, starts: Array, ends: Array, weights: Any, scored: Array,
) -> None:  # fmt: skip
    (
        likeness, loose, smoothing, trust, slack, shorter, longer, fertility, dissimilar,
        uncapitalised, min_score,
    ) = weights  # fmt: skip
    l_source, l_target = source.letters, target.letters
    table, received = np.zeros((len(l_source), len(l_target))), np.zeros(len(l_target))
    for k in range(len(links)):
        if table[links[k, 0], links[k, 1]] == 0:
            table[links[k, 0], links[k, 1]] = 1
            received[links[k, 1]] += 1
    for k in range(len(surface)):
        table[surface[k, 0], surface[k, 1]] += likeness * similarities[k]
        received[surface[k, 1]] += likeness * similarities[k]
    stretch = ((l_target.sum() + smoothing) / (l_source.sum() + smoothing)) ** trust
    same_script = _script(source) == _script(target)
    n_target = len(l_target)
    dealt, belongs, alike = np.empty(n_target), np.empty(n_target), np.empty(n_target)

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
        name = _nameness(source, start, end)
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
                lower = lower and target.case[word] == _LOWER
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
def _nameness(forms: Forms, start: int, end: int) -> float:
    """`scores.nameness`, whatever the length and script of an entity that has letters."""
    letters = capitalised = capitals = cased = 0
    for word, case in enumerate(forms.case):
        capital = case == _UPPER and word > 0
        if start <= word < end:
            letters += forms.letters[word]
            if capital:
                capitalised += forms.letters[word]
        else:
            capitals += capital
            cased += case != _CASELESS and word > 0
    return capitalised / letters * (1 - capitals / cased) if cased else 0.0


@compiled
def _script(forms: Forms) -> int:
    """The script of most words, the first by name if several are; 0 if none has one."""
    counts = np.zeros(len(forms.rank), np.int64)
    for script in forms.script:
        counts[script] += 1
    most = 0
    counts[0] = 0
    for script, count in enumerate(counts):
        is_first = count > 0 and forms.rank[script] < forms.rank[most]
        if count > counts[most] or (count == counts[most] and is_first):
            most = script
    return most


# Scores by taggers and translation models


@compiled
def _ner_rows(
    table: Rows, spans: Spans, bounds: Array, tagged: Tagged, classes: Array, powers: Array
) -> Array:
    scored = np.zeros(bounds[-1])
    for row in range(len(bounds) - 1):
        count = spans.offsets[row + 1] - spans.offsets[row]
        first = table.entity_offsets[row]
        for entity in range(first, table.entity_offsets[row + 1]):
            place = bounds[row] + (entity - first) * count
            if classes[entity] < 0 or count == 0:
                continue
            same = first
            while classes[same] != classes[entity]:
                same += 1
            if same < entity:
                known = bounds[row] + (same - first) * count
                for column in range(count):
                    scored[place + column] = scored[known + column]
            else:
                _by_class(
                    spans, row, tagged, classes[entity], powers, scored[place : place + count]
                )
    return scored


@compiled
def _ner_spans_rows(
    table: Rows, spans: Spans, bounds: Array, tagged: Tagged, powers: Array
) -> Array:
    scored = np.zeros(bounds[-1])
    for row in range(len(bounds) - 1):
        count = spans.offsets[row + 1] - spans.offsets[row]
        if bounds[row + 1] > bounds[row]:
            for label in range(tagged.begins.shape[1]):
                own = scored[bounds[row] : bounds[row] + count]
                _by_class(spans, row, tagged, label, powers, own)
            for place in range(bounds[row] + count, bounds[row + 1]):
                scored[place] = scored[place - count]
    return scored


@compiled
def _by_class(
    spans: Spans, row: int, tagged: Tagged, label: int, powers: Array, scored: Array
) -> None:
    """Raise the scores of a row's spans to those that a class gives them."""
    begins = _of_row(tagged.begins, tagged.offsets, row)
    continues = _of_row(tagged.continues, tagged.offsets, row)
    sums = np.zeros(len(begins) + 1)
    for word in range(len(begins)):
        sums[word + 1] = sums[word] + continues[word, label]
    for column in range(len(scored)):
        start = spans.starts[spans.offsets[row] + column]
        end = spans.ends[spans.offsets[row] + column]
        own = begins[start, label] - continues[start, label]
        # As there: a sum that should be 0 may come out a little below.
        total = max(0.0, own + sums[end] - sums[start])
        score = powers[end - start - 1] * total / (end - start)
        if score >= MIN_NER and score > scored[column]:
            scored[column] = score


@compiled
def _pairs_rows(
    table: Rows, spans: Spans, bounds: Array, offsets: Array, entities: Array, starts: Array,
    ends: Array, values: Array,
) -> Array:  # fmt: skip
    scored = np.zeros(bounds[-1])
    for row in range(len(bounds) - 1):
        first, count = spans.offsets[row], spans.offsets[row + 1] - spans.offsets[row]
        n_entities = table.entity_offsets[row + 1] - table.entity_offsets[row]
        for pair in range(offsets[row], offsets[row + 1]):
            low, high = first, first + count
            while low < high:
                middle = (low + high) // 2
                start, end = spans.starts[middle], spans.ends[middle]
                if start < starts[pair] or (start == starts[pair] and end < ends[pair]):
                    low = middle + 1
                else:
                    high = middle
            found = low < first + count and 0 <= entities[pair] < n_entities
            if not found or spans.starts[low] != starts[pair] or spans.ends[low] != ends[pair]:
                raise ValueError("a candidate is none of the row's pairs")
            scored[bounds[row] + entities[pair] * count + low - first] = values[pair]
    return scored
