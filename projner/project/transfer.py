"""The target side's own tagger as a projection method, alone or together with the source side's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, record, stage
from projner.errors import JobError
from projner.project import arrays
from projner.project.candidates import Indices
from projner.record import Status
from projner.stage import Stage
from projner.tags import Span, to_spans

Floats = npt.NDArray[np.floating[Any]]


def carried(source: Floats, links: Indices, n_target: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The probabilities of source words carried through links, and which target words got some.

    Args:
        source: floats (source words, tags).
        links: int32 (k, 2) of (source, target) words.
        n_target: words of the target sentence.

    Returns:
        Floats (target words, tags), the mean over a word's links and 0 without any, and bool (target
        words,).
    """
    links = np.unique(links.reshape(-1, 2), axis=0)
    sums = np.zeros((n_target, source.shape[1]))
    np.add.at(sums, links[:, 1], source[links[:, 0]].astype(np.float64))
    counts = np.bincount(links[:, 1], minlength=n_target)
    return sums / np.maximum(counts, 1)[:, None], counts > 0


def together(source: Floats, target: Floats, links: Indices) -> Floats:
    """The mean of the target side's probabilities and those carried from the source side.

    Of a word without links, the target side's. Train-test ensemble of arXiv 2505.10507.
    """
    brought, linked = carried(source, links, len(target))
    mean: Floats = np.where(linked[:, None], (target.astype(np.float64) + brought) / 2, target)
    return mean


def decoded(probabilities: Floats, tags: Sequence[str]) -> list[tuple[Span, float]]:
    """Entities of the most probable tags, and the mean probability of these on each one's words."""
    best = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1, initial=0)
    spans = to_spans([tags[tag] for tag in best])
    return [(span, float(sure[span.start : span.end].mean())) for span in spans]


def same_tags(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """For each tag of the target side's tagger its place among the source side's.

    Raises JobError naming the tags that only one of them has.
    """
    alone = (
        [tag for tag in source if tag not in target],
        [tag for tag in target if tag not in source],
    )
    if any(alone):
        said = [
            f"{', '.join(tags)} of {section}"
            for tags, section in zip(alone, ("label", "label_target"), strict=True)
            if tags
        ]
        raise JobError(
            f"method ensemble: the taggers do not know the same tags ({'; '.join(said)}); make them "
            "the same with `rename` and `ignore`"
        )
    return [list(source).index(tag) for tag in target]


class Transfer(Stage):
    """What a tagger sees on the target side, as it is (model transfer)."""

    name: ClassVar[str] = "transfer"
    inputs = ("target_tokens", "target_labels")
    outputs = ("target_entities", "tokens", "ner_tags")

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        labels = table["target_labels"].combine_chunks()
        items = pc.list_flatten(labels)
        names = ("start", "end", "label", "score")
        fields = {name: pc.struct_field(items, name) for name in names}
        found = arrays.projected(columns.lists(table["target_labels"]).offsets, fields)
        return _filled(table, found, "target_labels")


class Ensemble(Stage):
    """Entities of the mean of both sides' taggers; see `together`.

    That mean takes the place of the target side's own probabilities, so that a run's `target_probs` are
    those that its labels come from.
    """

    name: ClassVar[str] = "ensemble"
    version: ClassVar[int] = 2
    inputs = ("target_tokens", "links", "source_probs", "target_probs")
    outputs = ("target_entities", "tokens", "ner_tags")

    def __init__(self, source_tags: Sequence[str], target_tags: Sequence[str]) -> None:
        """`source_tags`, `target_tags`: those of the columns of probabilities, in order.

        Raises JobError if these are not the same.
        """
        self._tags = tuple(target_tags)
        self._places = same_tags(source_tags, target_tags)

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        links = columns.lists(table["links"], ["source", "target"])
        pairs = links.pairs("source", "target")
        sides = []
        for side in ("source", "target"):
            words = columns.lists(table[f"{side}_probs"])
            matrix = columns.numbers(table[f"{side}_probs"]).reshape(-1, len(self._tags))
            sides.append([matrix[rows] for rows in words.rows()])
        means = [
            together(source[:, self._places], target, pairs[k])
            for source, target, k in zip(*sides, links.rows(), strict=True)
        ]
        found = [decoded(mean, self._tags) for mean in means]
        flat = [(*span, score) for row in found for span, score in row]
        start, end, label, score = zip(*flat, strict=True) if flat else ((),) * 4
        fields = {
            "start": np.array(start, np.int32),
            "end": np.array(end, np.int32),
            "label": pa.array(label, pa.string()),
            "score": np.array(score, np.float32),
        }
        offsets = np.cumsum([0, *map(len, found)])
        filled = _filled(table, arrays.projected(offsets, fields), "target_probs", "source_probs")
        flat_means = np.concatenate(means) if means else np.empty((0, len(self._tags)))
        nested = columns.nested(flat_means.astype(np.float16), np.array([*map(len, means)], int))
        known = table["target_probs"].combine_chunks().is_valid()
        return record.with_column(filled, "target_probs", pc.if_else(known, nested, None))


def _filled(table: pa.Table, found: pa.Array, *read: str) -> pa.Table:
    """`table` with the entities `found`; a row that lacks what was `read` is an error."""
    lengths = pc.list_value_length(table["target_tokens"]).to_numpy()
    table = record.with_column(table, "target_entities", found)
    table = record.with_column(table, "tokens", table["target_tokens"])
    table = record.with_column(table, "ner_tags", arrays.tags(lengths, found))
    lacking = np.zeros(table.num_rows, bool)
    for name in read:
        lacking |= table[name].is_null().to_numpy()
    details = ["the row was not labelled by a tagger"] * int(lacking.sum())
    return arrays.without_tags(stage.with_status(table, lacking, Status.ERROR, details), lacking)
