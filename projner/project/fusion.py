"""Which spans of a sentence compete under a projection section, and how they score."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from projner import columns
from projner.columns import Lists
from projner.config import Project
from projner.project import candidates, scores
from projner.project.candidates import Indices, Spans
from projner.project.scores import Floats

LINKED = frozenset({"evidence", "align", "align_gap"})
"""Scores that are 0, or beaten, where a span does not begin and end at linked words."""
_PAIR = ("source_tokens", "target_tokens", "source_entities")
_READ = {
    **dict.fromkeys(LINKED, ("links",)),
    "ner": ("target_probs",),
    "ner_spans": ("target_probs",),
    "nmt": ("candidates", "nmt_scores"),
    "codec": ("candidates", "codec_scores"),
}
SCORED_ELSEWHERE = frozenset({"nmt", "codec"})
"""Scores that another room's models give to candidates."""


class Sentence(NamedTuple):
    """One sentence pair, as `scores` takes it; arrays are empty where the table lacks the column."""

    source_tokens: Sequence[str]
    target_tokens: Sequence[str]
    entities: Indices
    labels: Sequence[str]
    links: Indices
    surface: Indices
    similarities: Floats
    seen: Indices
    """int32 (k, 2): what a tagger found on the target side."""
    probabilities: Floats
    """(target words, tags)"""
    candidates: Indices
    """int32 (c, 3): entity, start, end"""
    nmt: Floats
    """(c,)"""
    codec: Floats
    """(c,)"""


class Scorer:
    """The candidates and the scores of a projection section."""

    def __init__(self, project: Project, tags: Sequence[str] = ()) -> None:
        """`tags`: of the target side's tagger, for scores that use it."""
        self.project = project
        self.tags = tuple(tags)
        self.classes = scores.Classes.read(tags)

    @property
    def by_links(self) -> bool:
        """Whether links alone decide."""
        return self.project.weights.keys() <= LINKED

    def inputs(self, without: Collection[str] = ()) -> tuple[str, ...]:
        """The columns that it reads, `without` some scores."""
        weighed = [name for name in self.project.weights if name not in without]
        read = [*_PAIR, *(column for name in weighed for column in _READ[name])]
        if self.project.candidates == "linked":
            read.append("links")
        if self.project.candidates == "ner":
            read.append("target_labels")
        if "links" in read and self.project.surface is not None:
            read.append("surface_links")
        return tuple(dict.fromkeys(read))

    def sentences(self, table: pa.Table) -> list[Sentence]:
        """The rows of a table."""
        names, count = table.column_names, table.num_rows

        def lists(name: str, fields: Sequence[str]) -> Lists:
            if name in names:
                return columns.lists(table[name], fields)
            return columns.no_lists(count, fields)

        entities = lists("source_entities", ["start", "end", "label"])
        links = lists("links", ["source", "target"])
        surface = lists("surface_links", ["source", "target", "score"])
        seen = lists("target_labels", ["start", "end"])
        chosen = lists("candidates", ["source_index", "start", "end"])
        similar, probable = lists("nmt_scores", []), lists("codec_scores", [])
        spans, pairs = entities.pairs("start", "end"), links.pairs("source", "target")
        alike, likeness = surface.pairs("source", "target"), surface.fields["score"]
        found = seen.pairs("start", "end")
        triples = np.column_stack([*chosen.fields.values()]).astype(np.int32)
        nmt, codec = values(table, "nmt_scores"), values(table, "codec_scores")
        words = lists("target_probs", [])
        matrix = values(table, "target_probs").reshape(-1, max(1, len(self.tags)))
        rows = zip(
            table["source_tokens"].to_pylist(),
            table["target_tokens"].to_pylist(),
            entities.rows(),
            links.rows(),
            surface.rows(),
            seen.rows(),
            words.rows(),
            chosen.rows(),
            similar.rows(),
            probable.rows(),
            strict=True,
        )
        return [
            Sentence(
                source,
                target,
                spans[e],
                entities.fields["label"][e].tolist(),
                pairs[k],
                alike[h],
                likeness[h],
                found[t],
                matrix[w],
                triples[c],
                nmt[n],
                codec[p],
            )
            for source, target, e, k, h, t, w, c, n, p in rows
        ]

    def candidates(self, sentence: Sentence) -> Spans:
        """The spans that compete."""
        words, most = len(sentence.target_tokens), self.project.max_words
        if self.project.candidates == "ner":
            return candidates.seen(sentence.seen, words, most)
        # A span that scores nothing is only ever chosen to fill a quota.
        every = not self.by_links or self.project.relation != "<="
        if self.project.candidates == "ngram" and every:
            return candidates.ngrams(words, most)
        links = np.concatenate([sentence.links, sentence.surface])
        return candidates.linked(sentence.entities, links, words, most)

    def score(self, sentence: Sentence, spans: Spans, without: Collection[str] = ()) -> Floats:
        """The score of each entity on each span, `without` some scores; 1 if none is left."""
        weighted = [
            (weight, self._score(name, sentence, spans))
            for name, weight in self.project.weights.items()
            if name not in without
        ]
        if not weighted:
            return np.ones((len(sentence.entities), len(spans[0])))
        return scores.fuse(weighted)

    def _score(self, name: str, sentence: Sentence, spans: Spans) -> Floats:
        entities = sentence.entities
        if name == "evidence":
            return scores.evidence(
                entities,
                sentence.links,
                sentence.surface,
                sentence.similarities,
                scores.forms(sentence.source_tokens),
                scores.forms(sentence.target_tokens),
                spans,
            )
        if name == "ner":
            return scores.ner(sentence.labels, sentence.probabilities, self.classes, spans)
        if name == "ner_spans":
            return scores.ner_spans(len(entities), sentence.probabilities, self.classes, spans)
        if name == "nmt":
            return scores.nmt(len(entities), sentence.candidates, sentence.nmt, spans)
        if name == "codec":
            return scores.codec(len(entities), sentence.candidates, sentence.codec, spans)
        score = {"align": scores.align, "align_gap": scores.align_gap}[name]
        links = scores.replace_links(sentence.links, sentence.surface)
        return score(entities, links, len(sentence.target_tokens), spans)


def values(table: pa.Table, name: str) -> Floats:
    """The numbers in a column of lists, nested or not, one after the other; none without it."""
    return columns.numbers(table[name]) if name in table.column_names else np.empty(0)
