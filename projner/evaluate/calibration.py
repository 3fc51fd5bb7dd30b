"""Confidences of projections: fitting them to gold labels, and how well they hold on others.

Right is a projection whose span and class the gold has. Where the source labels are a tagger's, the
projection of a wrong one cannot be right; so there, only those count that overlap a gold entity of their
class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner import columns, config, methods
from projner.corpus import index as corpora
from projner.evaluate import f1
from projner.project import confidence
from projner.tags import to_spans

Floats = npt.NDArray[np.float64]

METHODS = ("default", "align", "align_gap", "heuristic", "span")
"""A named method for each `confidence.kind`."""
PENALTY = 1e-3
BINS = 10


@dataclass(frozen=True)
class Samples:
    """Projections of a corpus: `features` (n, FEATURES), and whether each is `right`, (n,) of 0 and 1."""

    features: Floats
    right: Floats


@dataclass(frozen=True)
class Quality:
    """How well confidences hold."""

    projections: int
    precision: float
    confidence: float
    """Their mean, beside the precision."""
    ece: float
    """Expected calibration error: mean distance of the two in bins of a tenth."""
    brier: float
    """Mean squared error of confidences, ..."""
    brier_constant: float
    """... and of the precision in their place."""


def samples(job: config.Job, project: config.Project, predicted: bool = False) -> Samples:
    """The projections of a job's corpus, in one process.

    `predicted` says that the source labels are a tagger's. Raises JobError for what the job needs and
    nobody gave.
    """
    index = corpora.index(job.corpus)
    chunks = [
        corpora.read(job.corpus, chunk, index.ids[chunk.first : chunk.first + chunk.rows])
        for chunk in index.chunks
    ]
    done = methods.apply(methods.projection_stages(project), pa.concat_tables(chunks))
    path = Path(job.corpus.root) / str(job.evaluate.gold)
    gold = f1.read_labelled(str(path), job.corpus.skip, job.corpus.limit)
    names = ("source_index", "start", "end", "score", "margin", "label")
    found = columns.lists(done["target_entities"], names)
    row = np.repeat(np.arange(done.num_rows), np.diff(found.offsets))
    entity, start, end = (found.fields[name].astype(np.int64) for name in names[:3])
    score, margin = (found.fields[name].astype(np.float64) for name in names[3:5])
    known = confidence.features(done, row, entity, start, end, score, margin)
    truth = [set(to_spans(tags)) for tags in gold.tags]
    right, counts = np.zeros(len(row)), np.zeros(len(row), bool)
    spans = zip(row.tolist(), start.tolist(), end.tolist(), found.fields["label"], strict=True)
    for number, (sentence, first, last, label) in enumerate(spans):
        right[number] = (first, last, label) in truth[sentence]
        counts[number] = label not in job.evaluate.ignore and (
            not predicted
            or any(s < last and first < e for s, e, each in truth[sentence] if each == label)
        )
    return Samples(known[counts], right[counts])


def fit(groups: Sequence[Samples]) -> Floats:
    """Coefficients of the logistic regression, by Newton's method; groups weigh the same."""
    known = np.concatenate([group.features for group in groups])
    right = np.concatenate([group.right for group in groups])
    weight = np.concatenate([np.full(len(g.right), 1000 / len(g.right)) for g in groups])
    found = np.zeros(known.shape[1])
    for _ in range(50):
        likely = confidence.probabilities(known, found)
        slope = known.T @ (weight * (likely - right)) + PENALTY * found
        curve = (known * (weight * likely * (1 - likely))[:, None]).T @ known
        found -= np.linalg.solve(curve + PENALTY * np.eye(len(found)), slope)
    return found


def quality(likely: Floats, right: Floats) -> Quality:
    """How well confidences (n,) fit what is right (n,)."""
    bins = np.minimum((likely * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    distance = np.abs(np.bincount(bins, likely - right, BINS))
    precision = float(right.mean())
    return Quality(
        projections=len(right),
        precision=precision,
        confidence=float(likely.mean()),
        ece=float(distance.sum() / counts.sum()),
        brier=float(((likely - right) ** 2).mean()),
        brier_constant=precision * (1 - precision),
    )


def joined(groups: Iterable[Samples]) -> Samples:
    """Several as one."""
    groups = list(groups)
    return Samples(
        np.concatenate([group.features for group in groups]),
        np.concatenate([group.right for group in groups]),
    )
