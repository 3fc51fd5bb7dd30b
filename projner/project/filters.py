"""Filters by links, for training data that teaches no wrong labels.

From *The Devil Is in the Word Alignment Details* (arXiv 2505.10507). Entities are int32 (n, 2) as
[start, end) of source words, links int32 (k, 2) of (source, target) words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from projner import columns, record, stage
from projner.project import arrays
from projner.project.candidates import Indices
from projner.record import Status
from projner.stage import Stage

COMPLETE = ("COMP-SRC", "COMP-TGT", "COMP-INS")
"""Filters of sentences, in the order in which they are asked."""


def unlinked(entities: Indices, links: Indices) -> int | None:
    """COMP-SRC: the first source word of an entity that has no link, None if all have one."""
    linked = set(links[:, 0].tolist())
    words = [word for start, end in entities.tolist() for word in range(start, end)]
    return next((word for word in words if word not in linked), None)


def scattered(entities: Indices, links: Indices) -> int | None:
    """COMP-TGT: the first entity whose linked target words are not consecutive, None if none is."""
    for number, (start, end) in enumerate(entities):
        words = np.unique(links[(links[:, 0] >= start) & (links[:, 0] < end), 1])
        if len(words) and words[-1] - words[0] >= len(words):
            return number
    return None


def miscounted(source: Sequence[str], target: Sequence[str]) -> str | None:
    """COMP-INS: the first class, by name, that has more entities on one side, None if none has."""
    given, projected = Counter(source), Counter(target)
    return next(
        (label for label in sorted({*source, *target}) if given[label] != projected[label]), None
    )


def first_only(links: Indices) -> Indices:
    """RSTR-TGT: of a source word's links, the one to the first target word; by source word."""
    ordered = links[np.lexsort((links[:, 1], links[:, 0]))]
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:, 0] != ordered[:-1, 0]
    return ordered[first]


class Restrict(Stage):
    """RSTR-TGT: leaves each source word the link to its first target word."""

    name: ClassVar[str] = "restrict"
    inputs = ("links",)
    # It replaces what is there.
    outputs = ()

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        links = table["links"].combine_chunks()
        given = columns.lists(table["links"], ["source", "target"])
        row = np.repeat(np.arange(table.num_rows), np.diff(given.offsets))
        order = np.lexsort((given.fields["target"], given.fields["source"], row))
        words = np.stack([row, given.fields["source"]])[:, order]
        kept = np.zeros(len(order), bool)
        kept[order[np.r_[True, (words[:, 1:] != words[:, :-1]).any(axis=0)][: len(order)]]] = True
        return record.with_column(table, "links", arrays.kept(links, kept))


class Complete(Stage):
    """Sentences that do not pass a filter become `filtered`; the detail begins with its name."""

    name: ClassVar[str] = "complete"
    outputs = ()

    def __init__(self, filters: Sequence[str]) -> None:
        """`filters`: some of `COMPLETE`."""
        self.filters = tuple(name for name in COMPLETE if name in filters)
        by_links = {"COMP-SRC", "COMP-TGT"}.intersection(filters)
        self.inputs = ("source_entities", *(["links"] if by_links else []), "target_entities")

    def settings(self) -> dict[str, Any]:
        return {"filters": list(self.filters)}

    def __call__(self, table: pa.Table) -> pa.Table:
        given = columns.lists(table["source_entities"], ["start", "end", "label"])
        spans, labels = given.pairs("start", "end"), given.fields["label"]
        links = columns.no_lists(table.num_rows, ["source", "target"])
        if "links" in self.inputs:
            links = columns.lists(table["links"], ["source", "target"])
        pairs = links.pairs("source", "target")
        found = columns.lists(table["target_entities"], ["label"])
        rows = zip(given.rows(), links.rows(), found.rows(), strict=True)
        flaws = [
            self._flaw(spans[e], labels[e].tolist(), pairs[k], found.fields["label"][t].tolist())
            for e, k, t in rows
        ]
        wrong = np.array([flaw is not None for flaw in flaws], bool)
        details = [flaw for flaw in flaws if flaw is not None]
        return arrays.without_tags(stage.with_status(table, wrong, Status.FILTERED, details), wrong)

    def _flaw(
        self, spans: Indices, labels: Sequence[str], links: Indices, projected: Sequence[str]
    ) -> str | None:
        """The first filter that a sentence does not pass, and why."""
        for name in self.filters:
            if name == "COMP-SRC" and (word := unlinked(spans, links)) is not None:
                return f"{name}: source word {word} of an entity has no link"
            if name == "COMP-TGT" and (entity := scattered(spans, links)) is not None:
                return f"{name}: the target words of entity {entity} are not consecutive"
            if name == "COMP-INS" and (label := miscounted(labels, projected)) is not None:
                counts = labels.count(label), projected.count(label)
                return f"{name}: {counts[0]} entities of class {label} became {counts[1]}"
        return None
