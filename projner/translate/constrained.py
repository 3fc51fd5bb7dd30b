"""Constrained decoding: where the markers of an entity most probably stand in a given translation.

CODEC (Le et al. 2024, arXiv 2402.03131): the source sentence is marked, and of all ways to mark the
translation, whose words are fixed, the one is sought that the model thinks most probable. So no text is
harmed by markers, and text that exists already can be labelled. One way is to have no markers at all: a
model that prefers it does not know what they are for, and is not believed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner import languages, record
from projner.config import Translate
from projner.record import Status
from projner.translate import markers
from projner.translate.markers import Kind
from projner.translate.stage import Row, Translator, with_refusals
from projner.words import offsets

LEAST = 0.01
"""What is less probable than this share of the most probable way counts as impossible."""
AT_ONCE = 4
"""Spans of an entity that are scored together: more are done sooner on a GPU, and for nothing more
often. Results are the same."""
PART_ROWS = 64
"""Rows whose searches go on side by side."""
PLAIN = -1
"""In place of a span: the translation without markers."""


class Search:
    """The spans of an entity that are worth it, with their log-probabilities: branch and bound.

    Spans are sub-words of the translation with the markers around the span. The log-probability of a
    beginning is never less than that of what it begins; so each translation that is scored bounds all
    others by what they have in common with it at their beginning, such as everything up to the
    opening marker. What `LEAST` lets pass is found exactly, whatever else has been scored.
    """

    def __init__(
        self,
        plain: Sequence[int],
        marked: Sequence[Sequence[int]],
        starts: npt.NDArray[np.integer],
        ends: npt.NDArray[np.integer],
    ) -> None:
        """A search among spans of words.

        Args:
            plain: sub-words of the translation.
            marked: of each span, those of the translation with markers around it.
            starts: first word of each span.
            ends: the word behind each span.
        """
        self._lengths = np.fromiter(map(len, marked), np.int64, len(marked))
        self._ids = np.full((len(marked), self._lengths.max(initial=0)), -1, np.int32)
        for row, ids in zip(self._ids, marked, strict=True):
            row[: len(ids)] = ids
        self._plain = np.asarray(plain, np.int32)
        self._starts, self._ends = starts, ends
        self._bounds = np.zeros(len(marked))
        self._open = np.ones(len(marked), bool)
        self._tried: set[int] = set()
        self._begun = False
        self.log_probabilities = np.full(len(marked), -np.inf)
        """Of the spans that have been scored; minus infinity for the others."""
        self.unmarked = -np.inf
        """The log-probability of the translation without markers."""

    def next(self) -> list[int]:
        """The spans to score next (`PLAIN` first of all); none when the search is done."""
        if not self._begun:
            self._begun = True
            return [PLAIN] if len(self._open) else []
        left = np.flatnonzero(self._open & (self._bounds >= self._least))
        # The longest span of a start says the most of the others.
        order = left[np.lexsort((-self._ends[left], -self._bounds[left]))]
        chosen: list[int] = []
        for span in order.tolist():
            start = int(self._starts[span])
            if start in self._tried or self._is_longest(span, left):
                chosen.append(span)
            if len(chosen) == AT_ONCE:
                break
        self._tried.update(self._starts[chosen].tolist())
        self._open[chosen] = False
        return chosen

    def learn(self, span: int, scores: npt.NDArray[np.floating]) -> None:
        """What came of a span: the log-probabilities of its sub-words, and its end's."""
        ids = self._plain if span == PLAIN else self._ids[span, : self._lengths[span]]
        sums = np.concatenate([[0.0], np.cumsum(scores)])
        if span == PLAIN:
            self.unmarked = sums[-1]
        else:
            self.log_probabilities[span] = sums[-1]
        width = min(len(ids), self._ids.shape[1])
        common = np.cumprod(self._ids[:, :width] == ids[:width], axis=1).sum(axis=1)
        self._bounds = np.minimum(self._bounds, sums[common])

    @property
    def lost(self) -> bool:
        """Whether the model would rather leave the markers out."""
        return bool(self.log_probabilities.max(initial=-np.inf) < self.unmarked)

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Of each span among all ways that `LEAST` lets pass; 0 for all if the entity is `lost`."""
        found = self.log_probabilities
        if self.lost or not len(found):
            return np.zeros(len(found))
        kept = np.where(found >= self._least, np.exp(found - found.max()), 0)
        return np.asarray(kept / (kept.sum() + np.exp(self.unmarked - found.max())), np.float64)

    @property
    def _least(self) -> float:
        best = max(self.unmarked, self.log_probabilities.max(initial=-np.inf))
        return float(best + np.log(LEAST))

    def _is_longest(self, span: int, left: npt.NDArray[np.integer]) -> bool:
        same = left[self._starts[left] == self._starts[span]]
        return bool(self._ends[span] == self._ends[same].max())


class _Task(NamedTuple):
    """One entity's search."""

    row: int
    search: Search
    source: str
    """The source text with the entity marked."""
    texts: list[str]
    """Of each span, the marked translation; the plain one comes last."""
    places: npt.NDArray[np.integer]
    """Of each span, its place among the row's candidates."""


class ConstrainedDecoder(Translator):
    """`codec_scores`: the probability of each candidate to be where its entity's markers stand.

    Each entity is marked alone. Its scores and the probability that the markers stand nowhere sum to 1,
    however improbable the model thinks the sentence as a whole; candidates less than `LEAST` times as
    probable as the best way have 0, and so have all where the model would rather leave the markers
    out.
    """

    name: ClassVar[str] = "codec"

    def __init__(
        self, config: Translate, kind: Kind, *, alone: bool = True, languages: Iterable[str] = ()
    ) -> None:
        """A decoder from the source side, with markers of a kind.

        Args:
            config: which model.
            kind: what is put around entities.
            alone: whether nobody else scores the candidates: a row with an entity whose markers the
                model would rather leave out gets the status `markers_lost`.
            languages: FLORES-200 codes that the model must know, or `setup` refuses it.
        """
        super().__init__(config, "source", languages=languages)
        self._kind, self._alone = kind, alone
        self.inputs = (
            *("source_text", "source_tokens", "source_lang", "source_entities"),
            *("target_text", "target_tokens", "target_lang", "candidates"),
        )
        self.outputs = ("codec_scores",)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "markers": self._kind, "alone": self._alone}

    def setup(self, cpus: float | None = None) -> None:
        super().setup(cpus)
        self._spans = self._scored = self._entities = self._lost = 0

    def counters(self) -> Mapping[str, float]:
        return {
            **super().counters(),
            "entities": self._entities,
            "lost": self._lost,
            "spans": self._spans,
            "scored": self._scored,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        started = time.perf_counter()
        rows = table.select(self.inputs).to_pylist()
        scores = [np.zeros(len(row["candidates"] or [])) for row in rows]
        refusals = [_FINE] * len(rows)
        order = sorted(range(len(rows)), key=lambda n: -len(rows[n]["target_text"] or ""))
        for first in range(0, len(order), PART_ROWS):
            self._part(rows, order[first : first + PART_ROWS], scores, refusals)
        table = record.with_column(table, "codec_scores", [each.tolist() for each in scores])
        self._sentences += table.num_rows
        self._seconds += time.perf_counter() - started
        return with_refusals(table, refusals)

    def _part(
        self,
        rows: Sequence[Mapping[str, Any]],
        part: Sequence[int],
        scores: Sequence[npt.NDArray[np.floating]],
        refusals: list[Row],
    ) -> None:
        """Fill the scores, or say what is wrong, of the rows that are numbered in `part`."""
        pairs = {
            n: (languages.find(rows[n]["source_lang"]), languages.find(rows[n]["target_lang"]))
            for n in part
        }
        tasks: list[_Task] = []
        for number in part:
            row = rows[number]
            if row["source_entities"] and row["candidates"]:
                found, longest = self._tasks(number, row)
                refusals[number] = self._refusal(*pairs[number], longest)
                tasks += found if refusals[number].status is Status.OK else []
        searching = tasks
        while searching:
            asked = [(task, span) for task in searching for span in task.search.next()]
            if asked:
                scored = self._engine.token_scores(
                    [task.source for task, _ in asked],
                    [task.texts[span] for task, span in asked],
                    *map(list, zip(*(pairs[task.row] for task, _ in asked), strict=True)),
                )
                for (task, span), each in zip(asked, scored, strict=True):
                    task.search.learn(span, each)
            self._scored += len(asked)
            searching = list({id(task): task for task, _ in asked}.values())
        lost = Counter(task.row for task in tasks if task.search.lost)
        for task in tasks:
            scores[task.row][task.places] = task.search.probabilities()
            self._spans += len(task.places)
        for number, count in lost.items() if self._alone else ():
            entities = len(rows[number]["source_entities"])
            detail = f"the model leaves out the markers of {count} of {entities} entities"
            refusals[number] = Row(None, None, Status.MARKERS_LOST, detail)
        self._entities += len(tasks)
        self._lost += lost.total()

    def _tasks(self, number: int, row: Mapping[str, Any]) -> tuple[list[_Task], int]:
        """The searches of a row, and the sub-words of the longest text that they score or read."""
        source, target = row["source_text"], row["target_text"]
        ours, theirs = offsets(source, row["source_tokens"]), offsets(target, row["target_tokens"])
        opening, closing = markers.around(self._kind)
        owners, starts, ends = (
            np.array([each[name] for each in row["candidates"]])
            for name in ("source_index", "start", "end")
        )
        spans, which = np.unique(np.stack([starts, ends], 1), axis=0, return_inverse=True)
        places = [(theirs[start][0], theirs[end - 1][1]) for start, end in spans.tolist()]
        texts = [target[:a] + opening + target[a:b] + closing + target[b:] for a, b in places]
        *ids, plain = self._engine.subwords([*texts, target])
        tasks = []
        for entity, each in enumerate(row["source_entities"]):
            own = np.flatnonzero(owners == entity)
            chosen = which.reshape(-1)[own].tolist()
            marked = [ids[span] for span in chosen]
            search = Search(plain, marked, starts[own], ends[own])
            place = ours[each["start"]][0], ours[each["end"] - 1][1]
            text = markers.insert(source, [place], self._kind)
            tasks.append(_Task(number, search, text, [*(texts[n] for n in chosen), target], own))
        longest = self._engine.lengths([task.source for task in tasks]).max(initial=0)
        return tasks, max(int(longest), *map(len, ids))


_FINE = Row(None, None, Status.OK, None)
