"""The stages that project: matching by scores, and the rules on links."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import record, stage
from projner.config import Project
from projner.project import arrays, candidates, heuristic, match, scores
from projner.record import Status
from projner.stage import Stage


class Sentence(NamedTuple):
    """One sentence pair, as `scores` takes it."""

    source_tokens: Sequence[str]
    target_tokens: Sequence[str]
    entities: np.ndarray
    links: np.ndarray
    surface: np.ndarray
    similarities: np.ndarray


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


class Projector(Stage):
    """Fills `target_entities`, `tokens` and `ner_tags`; what a method is, its subclass says."""

    inputs: tuple[str, ...] = ("source_tokens", "target_tokens", "source_entities", "links")
    outputs = ("target_entities", "tokens", "ner_tags")

    def __init__(self, config: Project) -> None:
        self.config = config

    @abstractmethod
    def project(self, sentence: Sentence) -> Outcome:
        """Spans for the entities of one sentence (it has some), none overlapping."""

    def __call__(self, table: pa.Table) -> pa.Table:
        entities = arrays.lists(table["source_entities"], ["start", "end", "label"])
        outcomes = [
            self.project(sentence) if len(sentence.entities) else Outcome([])
            for sentence in _sentences(table, entities)
        ]
        offsets = np.cumsum([0, *(len(outcome.projected) for outcome in outcomes)])
        flat = [item for outcome in outcomes for item in outcome.projected]
        rows = np.repeat(np.arange(len(outcomes)), np.diff(offsets))
        entity = np.array([item.entity for item in flat], np.int32)
        starts = np.array([item.start for item in flat], np.int32)
        ends = np.array([item.end for item in flat], np.int32)
        labels = pa.array(entities.fields["label"][entities.offsets[rows] + entity], pa.string())
        column = arrays.projected(
            offsets,
            {
                "start": starts,
                "end": ends,
                "label": labels,
                "score": np.array([item.score for item in flat], np.float32),
                "margin": np.array([item.margin for item in flat], np.float32),
                "source_index": entity,
            },
        )
        lengths = pc.list_value_length(table["target_tokens"]).to_numpy()
        table = record.with_column(table, "target_entities", column)
        table = record.with_column(table, "tokens", table["target_tokens"])
        tags = arrays.iob2(lengths, offsets, starts, ends, labels)
        table = record.with_column(table, "ner_tags", tags)
        return _with_outcomes(table, outcomes)


class Match(Projector):
    """Spans by the best total score (Politov et al. 2025, arXiv 2501.18750; DESIGN of `match`)."""

    name: ClassVar[str] = "match"
    inputs = (*Projector.inputs, "surface_links")

    def settings(self) -> dict[str, Any]:
        used = {"candidates", "max_words", "score", "solver", "relation"}
        return {**self.config.model_dump(mode="json", include=used), "limit": self.config.most}

    def project(self, sentence: Sentence) -> Outcome:
        spans = self._candidates(sentence)
        scored = self._score(sentence, spans)
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

    def _candidates(self, sentence: Sentence) -> candidates.Spans:
        words, most = len(sentence.target_tokens), self.config.max_words
        # A span that scores nothing is only ever chosen to fill a quota.
        if self.config.candidates == "ngram" and self.config.relation != "<=":
            return candidates.ngrams(words, most)
        links = np.concatenate([sentence.links, sentence.surface])
        return candidates.linked(sentence.entities, links, words, most)

    def _score(self, sentence: Sentence, spans: candidates.Spans) -> np.ndarray:
        if self.config.score == "evidence":
            return scores.evidence(
                sentence.entities,
                sentence.links,
                sentence.surface,
                sentence.similarities,
                scores.forms(sentence.source_tokens),
                scores.forms(sentence.target_tokens),
                spans,
            )
        score = {"align": scores.align, "align_gap": scores.align_gap}[self.config.score]
        links = scores.replace_links(sentence.links, sentence.surface)
        return score(sentence.entities, links, len(sentence.target_tokens), spans)

    def _solve(
        self, scored: np.ndarray, starts: np.ndarray, ends: np.ndarray, limit: match.Limit
    ) -> match.Matching:
        if self.config.solver == "greedy":
            return match.greedy(scored, starts, ends, limit)
        if self.config.solver == "milp":
            from projner.project.milp import milp

            return milp(scored, starts, ends, limit)
        return match.solve(scored, starts, ends, limit)


class Heuristic(Projector):
    """Spans by rules on links: runs of linked words, or all from the first to the last."""

    name: ClassVar[str] = "heuristic"

    def settings(self) -> dict[str, Any]:
        if self.config.method == "span":
            return {"method": "span"}
        used = self.config.model_dump(mode="json", include={"method", "merge", "ratio"})
        return {**used, "limit": self.config.most}

    def project(self, sentence: Sentence) -> Outcome:
        known = sentence.entities, sentence.links, len(sentence.target_tokens)
        if self.config.method == "span":
            found = heuristic.span(*known)
        else:
            config = self.config
            found = heuristic.heuristic(*known, config.merge, config.ratio, config.most)
        return Outcome([Projected(*item) for item in found])


def _sentences(table: pa.Table, entities: arrays.Lists) -> list[Sentence]:
    links = arrays.lists(table["links"], ["source", "target"])
    pairs, spans = links.pairs("source", "target"), entities.pairs("start", "end")
    if "surface_links" in table.column_names:
        surface = arrays.lists(table["surface_links"], ["source", "target", "score"])
    else:
        nothing = {name: np.empty(0, np.int32) for name in ("source", "target", "score")}
        surface = arrays.Lists(np.zeros(table.num_rows + 1, np.int64), nothing)
    alike, likeness = surface.pairs("source", "target"), surface.fields["score"]
    rows = zip(
        table["source_tokens"].to_pylist(),
        table["target_tokens"].to_pylist(),
        entities.rows(),
        links.rows(),
        surface.rows(),
        strict=True,
    )
    return [
        Sentence(source, target, spans[e], pairs[k], alike[h], likeness[h])
        for source, target, e, k, h in rows
    ]


def _with_outcomes(table: pa.Table, outcomes: Sequence[Outcome]) -> pa.Table:
    """`table` with the statuses of what went wrong; only `ok` rows keep tags."""
    for status in {outcome.status for outcome in outcomes} - {Status.OK}:
        rows = np.array([outcome.status == status for outcome in outcomes])
        details = [outcome.detail or "" for outcome in outcomes if outcome.status == status]
        table = stage.with_status(table, rows, status, details)
        for name in ("tokens", "ner_tags"):
            kept = pc.if_else(pa.array(rows), pa.scalar(None, record.type_of(name)), table[name])
            table = record.with_column(table, name, kept)
    return table
