"""Links between words that look alike: names are copied or transliterated, numerals are copied.

Needs no model and no training, so that it helps most where other aligners know least: rare names,
and languages that no encoder has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from projner import columns, record
from projner.romanise import romanise
from projner.stage import Stage

MIN_SIMILARITY = 0.65
MIN_LETTERS = 3
"""Shorter words resemble too many others: like numerals, they are linked only to identical ones."""


def surface_links(
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    source_words: Iterable[int] | None = None,
    min_similarity: float = MIN_SIMILARITY,
) -> list[tuple[int, int, float]]:
    """The most similar target word of each source word, as (source, target, similarity).

    Similarity is 1 - (edit distance / length of the longer word) of the romanised words. Among
    target words that are equally similar, the one whose relative position is closest is taken.

    Args:
        source_words: indices of the source words to link, such as those of entities; None: all.
        min_similarity: least similarity of a link, in (0, 1].
    """
    wanted = range(len(source_tokens)) if source_words is None else sorted(set(source_words))
    sources = [(i, form) for i in wanted if (form := romanise(source_tokens[i]))]
    targets = [(j, form) for j, token in enumerate(target_tokens) if (form := romanise(token))]
    if not sources or not targets:
        return []
    similarities = cdist(
        [form for _, form in sources],
        [form for _, form in targets],
        scorer=Levenshtein.normalized_similarity,
        dtype="float64",
    )
    links = []
    for (i, form), row in zip(sources, similarities, strict=True):
        best = row.max()
        exact = len(form) < MIN_LETTERS or form.isdigit()
        if best < (1 if exact else min_similarity):
            continue
        position = (i + 0.5) / len(source_tokens)
        equals = [targets[k][0] for k in (row == best).nonzero()[0]]
        j = min(equals, key=lambda j: (abs((j + 0.5) / len(target_tokens) - position), j))
        links.append((i, j, float(best)))
    return links


class SurfaceAligner(Stage):
    """Fills `links` with the surface links of every source word, or `surface_links` with those of
    entity words, which stand beside an aligner's."""

    name: ClassVar[str] = "surface"

    def __init__(self, min_similarity: float = MIN_SIMILARITY, *, beside: bool = False) -> None:
        self._min_similarity = min_similarity
        self._beside = beside
        self.inputs = ("source_tokens", "target_tokens", *(["source_entities"] if beside else []))
        self.outputs = ("surface_links",) if beside else ("links",)

    def settings(self) -> dict[str, Any]:
        return {"min_similarity": self._min_similarity, "beside": self._beside}

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows < columns.MANY_ROWS:
            return record.with_column(table, self.outputs[0], self._one_by_one(table))
        # Here, since it takes half a second to load.
        from projner.align import surface_kernel

        words = None
        if self._beside:
            words = columns.lists(table["source_entities"], ["start", "end"])
        sides = table["source_tokens"], table["target_tokens"]
        found = surface_kernel.links(*sides, words, self._min_similarity, MIN_LETTERS)
        links = [found.source, found.target, found.similarity.astype(np.float32)]
        items = pa.StructArray.from_arrays(list(map(pa.array, links)), fields=list(record.LINK))
        column = pa.ListArray.from_arrays(pa.array(found.offsets, pa.int32()), items)
        return record.with_column(table, self.outputs[0], column)

    def _one_by_one(self, table: pa.Table) -> list[list[dict[str, Any]]]:
        found = []
        for row in table.select(self.inputs).to_pylist():
            words = None
            if self._beside:
                spans = [
                    (entity["start"], entity["end"]) for entity in row["source_entities"] or []
                ]
                words = [word for start, end in spans for word in range(start, end)]
            pair = row["source_tokens"], row["target_tokens"]
            links = surface_links(*pair, words, self._min_similarity)
            found.append([{"source": s, "target": t, "score": score} for s, t, score in links])
        return found
