"""Candidate spans of a target sentence, class-blind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int32]
Spans = tuple[Indices, Indices]
"""Starts and ends (exclusive) of spans in word indices, ordered by start, then by end."""


def ngrams(n_words: int, max_words: int | None = None) -> Spans:
    """All spans of 1 to `max_words` words in a sentence of `n_words`; of any length by default."""
    starts, lasts = np.nonzero(_within(n_words, max_words))
    return starts.astype(np.int32), (lasts + 1).astype(np.int32)


def linked(entities: Indices, links: Indices, n_words: int, max_words: int | None = None) -> Spans:
    """The spans of `ngrams` that begin and end at words linked to one and the same entity.

    A matching loses nothing by them. `align_gap` and `evidence` give 0 to every other span, and
    under `align` a span scores more, and is in nobody's way, without an unlinked word at its edge.

    Args:
        entities: int32 (n, 2), source words as [start, end).
        links: int32 (k, 2) of (source, target) words; for `evidence`, the surface links too.
        n_words: words of the target sentence.
    """
    chosen = np.zeros((n_words, n_words), bool)
    for start, end in entities:
        source = links[:, 0]
        reached = np.zeros(n_words, bool)
        reached[links[(source >= start) & (source < end), 1]] = True
        chosen |= reached[:, None] & reached
    starts, lasts = np.nonzero(chosen & _within(n_words, max_words))
    return starts.astype(np.int32), (lasts + 1).astype(np.int32)


def seen(found: Indices, n_words: int, max_words: int | None = None) -> Spans:
    """The spans of `ngrams` among those that a tagger found, int32 (k, 2), whatever their class."""
    chosen = np.zeros((n_words, n_words), bool)
    chosen[found[:, 0], found[:, 1] - 1] = True
    starts, lasts = np.nonzero(chosen & _within(n_words, max_words))
    return starts.astype(np.int32), (lasts + 1).astype(np.int32)


def _within(n_words: int, max_words: int | None) -> npt.NDArray[np.bool_]:
    """Which pairs of a first and a last word make a span of `max_words` words at most."""
    lengths = np.arange(1, n_words + 1) - np.arange(n_words)[:, None]
    return (lengths >= 1) & (lengths <= (n_words if max_words is None else max_words))
