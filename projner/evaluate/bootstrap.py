"""Whether a difference in F1 is more than the luck of which sentences were in the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from projner import tags as tag_schemes

Counts = npt.NDArray[np.int64]
"""(n, 3): of each sentence, the spans that are right, those predicted and those in the gold."""
Floats = npt.NDArray[np.float64]

SAMPLES = 2000


@dataclass(frozen=True)
class Gain:
    """What one method's F1 is above another's on the same sentences."""

    gain: float
    low: float
    """The 2.5th percentile of the gain over the resamples, ..."""
    high: float
    """... and the 97.5th."""
    p: float
    """Share of resamples without a gain: how likely so large a one is by luck, one-sided."""


def counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Counts:
    """Spans by sentence, of two lists of IOB2 tag sequences."""
    found = np.zeros((len(gold), 3), np.int64)
    for row, (truth, guess) in enumerate(zip(gold, predicted, strict=True)):
        expected, got = set(tag_schemes.to_spans(truth)), set(tag_schemes.to_spans(guess))
        found[row] = len(expected & got), len(got), len(expected)
    return found


def f1(sums: npt.NDArray[np.integer]) -> Floats:
    """Micro F1 of sums (..., 3) of counts; 0 where there is neither gold nor prediction."""
    both = sums[..., 1] + sums[..., 2]
    return np.asarray(2 * sums[..., 0] / np.maximum(both, 1))


@dataclass(frozen=True)
class Interval:
    """Where the F1 of other sentences of the same kind would be, 95 times in 100."""

    low: float
    high: float


def interval(ours: Counts, samples: int = SAMPLES, seed: int = 0) -> Interval:
    """The 2.5th and 97.5th percentile of F1 over sentences drawn with replacement."""
    low, high = np.quantile(f1(_drawn(ours, samples, seed)), [0.025, 0.975])
    return Interval(float(low), float(high))


def paired(ours: Counts, theirs: Counts, samples: int = SAMPLES, seed: int = 0) -> Gain:
    """The gain of `ours` over `theirs` by the paired bootstrap (Koehn 2004).

    Sentences are drawn with replacement, the same for both, `samples` times.
    """
    sums = _drawn(np.hstack([ours, theirs]), samples, seed)
    gains = f1(sums[:, :3]) - f1(sums[:, 3:])
    low, high = np.quantile(gains, [0.025, 0.975])
    p = (1 + np.count_nonzero(gains <= 0)) / (1 + samples)
    whole = float(f1(ours.sum(axis=0)) - f1(theirs.sum(axis=0)))
    return Gain(whole, float(low), float(high), float(p))


def _drawn(counts: Counts, samples: int, seed: int) -> Counts:
    """Sums (samples, columns) of the counts of as many sentences as there are, drawn at random."""
    # Sentences with equal counts are alike: far fewer kinds than sentences are weighed.
    kinds, which = np.unique(counts, axis=0, return_inverse=True)
    shares = np.bincount(which.ravel(), minlength=len(kinds)) / len(counts)
    drawn = np.random.default_rng(seed).multinomial(len(counts), shares, size=samples)
    return np.asarray(drawn @ kinds)
