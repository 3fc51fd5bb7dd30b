"""Symmetrised links of a whole table at once, compiled.

The same as `symmetrise.symmetrise` gives sentence by sentence, which says what the methods are and is
the tests' oracle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from projner.align.symmetrise import METHODS
from projner.columns import Lists
from projner.compiled import compiled

Array = npt.NDArray[Any]

_FORWARD, _REVERSE, _LINKED, _NEW = 1, 2, 4, 8


def symmetrise_all(forward: Lists, reverse: Lists, method: str) -> Lists:
    """The links (`source`, `target`) of every row by one of `METHODS`, sorted, each once."""
    sides = [(side.offsets, side.pairs("source", "target")) for side in (forward, reverse)]
    offsets, links = _symmetrise(*sides[0], *sides[1], METHODS.index(method))
    return Lists(offsets, {"source": links[:, 0], "target": links[:, 1]})


@compiled
def _symmetrise(
    forward_offsets: Array, forward: Array, reverse_offsets: Array, reverse: Array, method: int
) -> Any:
    """Offsets and links; `method` is a place in `METHODS`."""
    offsets = np.zeros(len(forward_offsets), np.int64)
    links = np.empty((len(forward) + len(reverse), 2), np.int32)
    filled = 0
    for row in range(len(offsets) - 1):
        one = forward[forward_offsets[row] : forward_offsets[row + 1]]
        other = reverse[reverse_offsets[row] : reverse_offsets[row + 1]]
        sources, targets = 0, 0
        for side in (one, other):
            for source, target in side:
                sources, targets = max(sources, source + 1), max(targets, target + 1)
        cells = np.zeros((sources, targets), np.uint8)
        for source, target in one:
            cells[source, target] |= _FORWARD
        for source, target in other:
            cells[source, target] |= _REVERSE
        if method == 2:
            _grow_diag_final_and(cells)
        for source in range(sources):
            for target in range(targets):
                cell = cells[source, target]
                if (
                    (method == 0 and cell & 3 == 3)
                    or (method == 1 and cell)
                    or (method == 2 and cell & _LINKED)
                    or (method == 3 and cell & _FORWARD)
                    or (method == 4 and cell & _REVERSE)
                ):
                    links[filled, 0], links[filled, 1] = source, target
                    filled += 1
        offsets[row + 1] = filled
    return offsets, links[:filled]


@compiled
def _grow_diag_final_and(cells: Array) -> None:
    """Mark as linked what grow-diag-final-and links, in the order in which `symmetrise` does."""
    sources, targets = cells.shape
    source_linked, target_linked = np.zeros(sources, np.bool_), np.zeros(targets, np.bool_)
    for source in range(sources):
        for target in range(targets):
            if cells[source, target] & 3 == 3:
                cells[source, target] |= _LINKED
                source_linked[source] = target_linked[target] = True
    grown = True
    while grown:
        grown = False
        for source in range(sources):
            for target in range(targets):
                if not cells[source, target] & _LINKED or cells[source, target] & _NEW:
                    continue
                for down, right in (
                    (-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)
                ):  # fmt: skip
                    i, j = source + down, target + right
                    if (
                        0 <= i < sources
                        and 0 <= j < targets
                        and cells[i, j] & 3
                        and not (source_linked[i] and target_linked[j])
                    ):
                        cells[i, j] |= _LINKED | _NEW
                        source_linked[i] = target_linked[j] = grown = True
        for source in range(sources):
            for target in range(targets):
                cells[source, target] &= ~np.uint8(_NEW)
    for direction in (_FORWARD, _REVERSE):
        for source in range(sources):
            for target in range(targets):
                if (
                    cells[source, target] & direction
                    and not source_linked[source]
                    and not target_linked[target]
                ):
                    cells[source, target] |= _LINKED
                    source_linked[source] = target_linked[target] = True
