"""The matching of a whole table at once: what `Match` does sentence by sentence, compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns
from projner.columns import Lists
from projner.config import Project
from projner.project import exact, fusion, kernel, scores
from projner.project.fusion import Scorer
from projner.project.kernel import Rows, Spans
from projner.project.match import Limit

Array = npt.NDArray[Any]

SCORES = frozenset({"evidence", "align", "align_gap", "ner", "ner_spans", "nmt", "codec"})
SIDES = ("source_tokens", "target_tokens")
MAX_SCORES = 1 << 22
"""Scores of rows that are worked on together, at most and roughly."""


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


def knows(project: Project) -> bool:
    """Whether a projection section can be followed here."""
    return (
        project.solver == "exact" and project.relation == "<=" and project.weights.keys() <= SCORES
    )


def match(table: pa.Table, scorer: Scorer) -> Found:
    """The best spans for the entities of every row, under a section that `knows`.

    Raises IndexError or ValueError where a row is not what it should be, such as for entities outside
    their sentence.
    """
    parts = [_match(part, scorer) for part in _parts(table, scorer.project.max_words)]
    sizes = [len(part.left) for part in parts]
    for part, before in zip(parts, np.cumsum([0, *sizes]).tolist(), strict=False):
        part.row[:] += before
    return Found(*map(np.concatenate, zip(*parts, strict=True)))


def _parts(table: pa.Table, max_words: int) -> Iterator[pa.Table]:
    """Rows that are worked on together."""
    entities = np.diff(columns.lists(table["source_entities"]).offsets)
    words = np.diff(columns.lists(table["target_tokens"]).offsets)
    total = np.cumsum(entities * words * np.minimum(words, max_words))
    ends = np.flatnonzero(np.diff(total // MAX_SCORES)) + 1
    for begin, end in zip([0, *ends], [*ends, table.num_rows], strict=True):
        yield table.slice(begin, end - begin)


def _match(table: pa.Table, scorer: Scorer) -> Found:
    words = [columns.lists(table[name]) for name in SIDES]
    entities = _lists(table, "source_entities", ["start", "end"])
    links = _lists(table, "links", ["source", "target"])
    surface = _lists(table, "surface_links", ["source", "target", "score"])
    assert entities is not None
    rows = kernel.rows(entities, links, surface, *words)
    spans = _spans(table, rows, scorer)
    weighted = [
        (weight, _score(name, table, rows, spans, scorer))
        for name, weight in scorer.project.weights.items()
    ]
    scored = scores.fuse(weighted)
    matrices = kernel.matrices(rows, spans, scored)
    solved = exact.solve(matrices, Limit(scorer.project.most))
    span = spans.offsets[solved.row] + solved.candidate
    sizes = np.diff(spans.offsets)[solved.row]
    score_at = matrices.score_offsets[solved.row] + solved.entity * sizes + solved.candidate
    return Found(
        solved.row,
        solved.entity,
        spans.starts[span],
        spans.ends[span],
        scored[score_at],
        solved.margin,
        solved.left,
    )


def _spans(table: pa.Table, rows: Rows, scorer: Scorer) -> Spans:
    """The spans of `Scorer.candidates`."""
    project = scorer.project
    if project.candidates == "ner":
        found = columns.lists(table["target_labels"], ["start", "end"])
        return kernel.seen(rows, found, project.max_words)
    if project.candidates == "ngram" and not scorer.by_links:
        return kernel.ngrams(rows, project.max_words)
    return kernel.linked(rows, project.max_words)


def _score(name: str, table: pa.Table, rows: Rows, spans: Spans, scorer: Scorer) -> Array:
    if name == "evidence":
        found = np.diff(spans.offsets) > 0
        source, target = (
            kernel.forms(
                pc.list_flatten(table[side].combine_chunks()), np.repeat(found, np.diff(offsets))
            )
            for side, offsets in zip(SIDES, (rows.source_offsets, rows.target_offsets), strict=True)
        )
        return kernel.evidence(rows, spans, source, target)
    if name == "align":
        return kernel.align(rows, spans)
    if name == "align_gap":
        return kernel.align_gap(rows, spans)
    if name in ("nmt", "codec"):
        column, least = {"nmt": ("nmt_scores", scores.MIN_NMT), "codec": ("codec_scores", 0)}[name]
        chosen = columns.lists(table["candidates"], ["source_index", "start", "end"])
        if (chosen.offsets != columns.lists(table[column]).offsets).any():
            raise IndexError("there is not one score for each candidate")
        values = scores.at_least(fusion.values(table, column), least)
        return kernel.pairs(rows, spans, chosen, values)
    probabilities = fusion.values(table, "target_probs").reshape(-1, max(1, len(scorer.tags)))
    classes = scorer.classes
    tagged = kernel.Tagged(
        columns.lists(table["target_probs"]).offsets,
        probabilities @ classes.begins,
        probabilities @ classes.continues,
    )
    if name == "ner_spans":
        return kernel.ner_spans(rows, spans, tagged)
    labels = pc.struct_field(pc.list_flatten(table["source_entities"].combine_chunks()), "label")
    number = pc.index_in(labels, pa.array(classes.names, pa.string())).fill_null(-1)
    return kernel.ner(rows, spans, tagged, number.to_numpy().astype(np.int64))


def _lists(table: pa.Table, name: str, fields: Sequence[str]) -> Lists | None:
    return columns.lists(table[name], fields) if name in table.column_names else None
