"""What is wrong with a translation, as far as its length and its repetitions tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

ROOM = 20
"""Sub-words that a translation may have beyond the ratio: short texts vary most."""
MAX_PERIOD = 16
MIN_ROUNDS = 4
MIN_LOOP = 16


def cap(length: int, ratio: float, limit: int) -> int:
    """Sub-words that the translation of `length` sub-words may have."""
    return min(math.ceil(ratio * length) + ROOM, limit)


def flaw(
    text: Sequence[int], translation: Sequence[int], *, ended: bool, cap: int, min_ratio: float
) -> str | None:
    """Why `translation` is none, or nothing if it may be one; both are sub-word ids."""
    if not translation:
        return "the translation is empty"
    if not ended or len(translation) > cap:
        return f"the translation has no end within {cap} sub-words"
    if len(translation) < min_ratio * len(text):
        return f"the translation has {len(translation)} sub-words for {len(text)}"
    if loops(translation) and not loops(text):
        return "the translation repeats itself"
    return None


def loops(row: Sequence[int]) -> bool:
    """Whether up to 16 ids come 4 times or more in a row, and fill 16 places."""
    # What is filled so repeats at least 12 ids, 4 of them filling 16 places.
    if len(row) - len(set(row)) < 12:
        return False
    ids = np.array(row)
    for period in range(1, min(MAX_PERIOD, len(ids) // MIN_ROUNDS) + 1):
        # A stretch in which each id equals the one a period before, and that period itself.
        breaks = np.flatnonzero(ids[period:] != ids[:-period])
        stretches = np.diff(breaks, prepend=-1, append=len(ids) - period) - 1
        if stretches.max() + period >= max(MIN_ROUNDS * period, MIN_LOOP):
            return True
    return False
