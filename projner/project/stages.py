"""The stages that project: matching by scores, and the rules on links."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, record, stage
from projner.columns import Lists
from projner.config import Project
from projner.project import arrays, confidence, heuristic, match
from projner.project.fusion import SCORED_ELSEWHERE, Scorer, Sentence
from projner.record import Status
from projner.stage import Stage

_WHAT = {
    "links": "word links",
    "target_labels": "labels of a tagger on its target side",
    "target_probs": "labels of a tagger on its target side",
    "source_entities": "labels on its source side",
}
"""What a row has none of where a column is null; the last is said first."""


class Projected(NamedTuple):
    """A span that an entity goes to."""

    entity: int
    start: int
    end: int
    score: float
    margin: float = float("nan")


class Outcome(NamedTuple):
    """The spans of one sentence, and what to say of it when it is not `ok`."""

    projected: Sequence[Projected]
    status: Status = Status.OK
    detail: str | None = None


class Chosen(NamedTuple):
    """The spans of a table, by row and in reading order: `Projected`, an array for each field."""

    row: np.ndarray
    entity: np.ndarray
    start: np.ndarray
    end: np.ndarray
    score: np.ndarray
    margin: np.ndarray


class Projector(Stage):
    """Fills `target_entities`, `tokens` and `ner_tags`; what a method is, its subclass says."""

    inputs: tuple[str, ...] = ("source_tokens", "target_tokens", "source_entities", "links")
    outputs = ("target_entities", "tokens", "ner_tags")

    def __init__(self, config: Project, tags: Sequence[str] = ()) -> None:
        self.config = config
        self.scorer = Scorer(config, tags)
        self._certainty = confidence.coefficients(config)

    def settings(self) -> dict[str, Any]:
        known = self._certainty
        return {} if known is None else {"confidence": zlib.crc32(known.tobytes())}

    @abstractmethod
    def project(self, sentence: Sentence) -> Outcome:
        """Spans for the entities of one sentence (it has some), none overlapping."""

    def choose(self, table: pa.Table) -> tuple[Chosen, dict[int, Outcome]]:
        """The spans of all rows, and what became of rows that were projected one by one."""
        labelled = pc.list_value_length(table["source_entities"]).fill_null(0).to_numpy() > 0
        labelled[list(_lacking(table, self.inputs))] = False
        return self._one_by_one(table, np.flatnonzero(labelled))

    def __call__(self, table: pa.Table) -> pa.Table:
        chosen, outcomes = self.choose(table)
        entities = table["source_entities"]
        first = columns.lists(entities).offsets[chosen.row]
        labels = pc.struct_field(pc.list_flatten(entities.combine_chunks()), "label")
        labels = labels.take(pa.array(first + chosen.entity))
        offsets = np.searchsorted(chosen.row, np.arange(table.num_rows + 1))
        column = arrays.projected(
            offsets,
            {
                "start": chosen.start,
                "end": chosen.end,
                "label": labels,
                "score": chosen.score,
                "margin": chosen.margin,
                "confidence": self._confidences(table, chosen, first),
                "source_index": chosen.entity,
            },
        )
        lengths = pc.list_value_length(table["target_tokens"]).to_numpy()
        table = record.with_column(table, "target_entities", column)
        table = record.with_column(table, "tokens", table["target_tokens"])
        tags = arrays.iob2(lengths, offsets, chosen.start, chosen.end, labels)
        table = record.with_column(table, "ner_tags", tags)
        return _with_outcomes(table, {**outcomes, **_lacking(table, self.inputs)})

    def _confidences(self, table: pa.Table, chosen: Chosen, first: np.ndarray) -> np.ndarray | None:
        """`first`: the place of a row's first entity among all, for each of the chosen."""
        if self._certainty is None:
            return None
        own = columns.lists(table["source_entities"], ["score"]).fields["score"]
        known = confidence.features(table, *chosen)
        likely = confidence.probabilities(known, self._certainty)
        return np.asarray(likely * own[first + chosen.entity])

    def _one_by_one(self, table: pa.Table, rows: np.ndarray) -> tuple[Chosen, dict[int, Outcome]]:
        sentences = self.scorer.sentences(table.take(pa.array(rows)))
        outcomes = dict(zip(rows.tolist(), map(self.project, sentences), strict=True))
        flat = [(row, *item) for row, outcome in outcomes.items() for item in outcome.projected]
        values = np.array(flat, np.float64).reshape(-1, len(Chosen._fields)).T
        return Chosen(*values[:4].astype(np.int64), *values[4:]), outcomes


class Match(Projector):
    """Spans by the best total score (Politov et al. 2025, arXiv 2501.18750; DESIGN of `match`)."""

    name: ClassVar[str] = "match"

    def __init__(self, config: Project, tags: Sequence[str] = ()) -> None:
        """`tags`: of the target side's tagger, for scores that use it."""
        super().__init__(config, tags)
        self.inputs = self.scorer.inputs()

    def settings(self) -> dict[str, Any]:
        used = {"candidates", "max_words", "solver", "relation"}
        return {
            **super().settings(),
            **self.config.model_dump(mode="json", include=used),
            "score": _signed(self.config),
            "limit": self.config.most,
        }

    def choose(self, table: pa.Table) -> tuple[Chosen, dict[int, Outcome]]:
        if self.config.solver != "exact" or table.num_rows < columns.MANY_ROWS:
            return super().choose(table)
        # Here, since it takes half a second to load.
        from projner.project import many

        if not many.knows(self.config):
            return super().choose(table)
        *found, left = many.match(table, self.scorer)
        rest, outcomes = self._one_by_one(table, np.flatnonzero(left))
        both = Chosen(*map(np.concatenate, zip(found, rest, strict=True)))
        order = np.argsort(both.row, kind="stable")
        return Chosen(*(values[order] for values in both)), outcomes

    def project(self, sentence: Sentence) -> Outcome:
        spans = self.scorer.candidates(sentence)
        scored = self.scorer.score(sentence, spans)
        limit = match.Limit(self.config.most, self.config.relation)
        found = self._solve(scored, *spans, limit)
        if found.status == "infeasible":
            count = f"{self.config.relation} {self.config.most}"
            detail = f"no choice of spans uses each of {len(scored)} entities {count} times"
            return Outcome([], Status.INFEASIBLE, detail)
        starts, ends = spans
        margins = [float("nan")] * len(found.pairs)
        if found.status == "optimal":
            exact = match.margins(scored, starts, ends, limit, found)
            margins = [margin / match.SCALE for margin in exact]
        projected = [
            Projected(entity, int(starts[c]), int(ends[c]), float(scored[entity, c]), margin)
            for (entity, c), margin in zip(found.pairs, margins, strict=True)
        ]
        if found.status == "bounded" and self.config.solver != "greedy":
            best, bound = found.objective / match.SCALE, found.bound / match.SCALE
            detail = f"work limit reached: total score {best:.4f}, and none is above {bound:.4f}"
            return Outcome(projected, Status.BOUNDED, detail)
        return Outcome(projected)

    def _solve(
        self, scored: np.ndarray, starts: np.ndarray, ends: np.ndarray, limit: match.Limit
    ) -> match.Matching:
        if self.config.solver == "greedy":
            return match.greedy(scored, starts, ends, limit)
        if self.config.solver == "milp":
            from projner.project.milp import milp

            return milp(scored, starts, ends, limit)
        return match.solve(scored, starts, ends, limit)


class Candidates(Stage):
    """Fills `candidates` with the pairs that another room should score: those that the other scores
    leave above zero, or all where there are none."""

    name: ClassVar[str] = "candidates"
    outputs = ("candidates",)

    def __init__(self, config: Project, tags: Sequence[str] = ()) -> None:
        """`tags`: of the target side's tagger, for scores that use it."""
        self.config = config
        self.scorer = Scorer(config, tags)
        self.inputs = self.scorer.inputs(without=SCORED_ELSEWHERE)

    def settings(self) -> dict[str, Any]:
        used = self.config.model_dump(mode="json", include={"candidates", "max_words", "relation"})
        return {**used, "score": _signed(self.config, without=SCORED_ELSEWHERE)}

    def __call__(self, table: pa.Table) -> pa.Table:
        found: list[np.ndarray] = []
        for sentence in self.scorer.sentences(table):
            spans = self.scorer.candidates(sentence)
            scored = self.scorer.score(sentence, spans, without=SCORED_ELSEWHERE)
            entity, span = np.nonzero(scored)
            found.append(np.stack([entity, spans[0][span], spans[1][span]], axis=1))
        return record.with_column(table, "candidates", arrays.candidates(found))


class Heuristic(Projector):
    """Spans by rules on links: runs of linked words, or all from the first to the last."""

    name: ClassVar[str] = "heuristic"

    def settings(self) -> dict[str, Any]:
        if self.config.method == "span":
            return {"method": "span", **super().settings()}
        used = self.config.model_dump(mode="json", include={"method", "merge", "ratio"})
        return {**used, **super().settings(), "limit": self.config.most}

    def project(self, sentence: Sentence) -> Outcome:
        known = sentence.entities, sentence.links, len(sentence.target_tokens)
        if self.config.method == "span":
            found = heuristic.span(*known)
        else:
            config = self.config
            found = heuristic.heuristic(*known, config.merge, config.ratio, config.most)
        return Outcome([Projected(*item) for item in found])


def _signed(config: Project, without: Collection[str] = ()) -> Any:
    """The scores of a section as they stand in settings."""
    weights = {name: weight for name, weight in config.weights.items() if name not in without}
    if len(weights) < 2:
        return next(iter(weights), None)
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _lists(table: pa.Table) -> tuple[Lists, Lists, Lists]:
    """Entities, links and surface links."""
    entities = columns.lists(table["source_entities"], ["start", "end"])
    links = columns.lists(table["links"], ["source", "target"])
    fields = ["source", "target", "score"]
    if "surface_links" not in table.column_names:
        return entities, links, columns.no_lists(table.num_rows, fields)
    return entities, links, columns.lists(table["surface_links"], fields)


def _lacking(table: pa.Table, inputs: Sequence[str]) -> dict[int, Outcome]:
    """Rows that nobody gave labels or links: no labels there are not known to be none."""
    lacking: dict[int, Outcome] = {}
    for name, what in _WHAT.items():
        if name in inputs:
            for row in np.flatnonzero(table[name].is_null()).tolist():
                lacking[row] = Outcome([], Status.ERROR, f"the row has no {what}")
    return lacking


def _with_outcomes(table: pa.Table, outcomes: Mapping[int, Outcome]) -> pa.Table:
    """`table` with the statuses of what went wrong; only `ok` rows keep tags."""
    for status in {outcome.status for outcome in outcomes.values()} - {Status.OK}:
        found = {row: each for row, each in sorted(outcomes.items()) if each.status == status}
        rows = np.isin(np.arange(table.num_rows), list(found))
        details = [outcome.detail or "" for outcome in found.values()]
        table = arrays.without_tags(stage.with_status(table, rows, status, details), rows)
    return table
