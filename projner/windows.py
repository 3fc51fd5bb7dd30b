"""Windows over a sentence that is longer than a model reads at once."""

from __future__ import annotations

import numpy as np


def cover(sizes: np.ndarray, limit: int, overlap: int) -> np.ndarray:
    """Windows over a sentence whose words have `sizes` sub-words, each at most `limit`.

    Returns a row (start, end, first, last) for each window, in word positions: it reads the words
    `start:end`, at most `limit` sub-words, and answers for `first:last`. Each word is answered for
    once, by the window that reads most on its scantier side. Neighbours share up to `overlap`
    sub-words, fewer where the next word would not fit otherwise.
    """
    before = np.concatenate([[0], np.cumsum(sizes)])
    count = len(sizes)
    starts: list[int] = [0]
    ends: list[int] = []
    while True:
        end = int(np.searchsorted(before, before[starts[-1]] + limit, side="right")) - 1
        ends.append(end)
        if end == count:
            break
        earliest = max(before[end] - overlap, before[end + 1] - limit)
        starts.append(int(np.searchsorted(before, earliest)))
    # Where two windows overlap, a word goes to the later one as soon as it has more to its left
    # there than to its right in the earlier one.
    shared = before[np.array(starts[1:], int)] + before[np.array(ends[:-1], int)]
    handover = np.searchsorted(before[:-1] + before[1:], shared, side="right")
    bounds = [0, *np.minimum(handover, ends[:-1]), count]
    return np.column_stack([starts, ends, bounds[:-1], bounds[1:]])


def cover_all(sizes: np.ndarray, counts: np.ndarray, limit: int, overlap: int) -> np.ndarray:
    """The windows of many sentences of `counts` words, whose words stand one after the other.

    Positions count through all words. A sentence that fits is a window of its own; one without any
    sub-word needs none.
    """
    ends = np.cumsum(counts)
    starts = ends - counts
    before = np.concatenate([[0], np.cumsum(sizes)])
    lengths = before[ends] - before[starts]
    long = lengths > limit
    whole = np.column_stack([starts, ends, starts, ends])[(lengths > 0) & ~long]
    split = [
        cover(sizes[start:end], limit, overlap) + start
        for start, end in zip(starts[long], ends[long], strict=True)
    ]
    return np.concatenate([whole, *split])
