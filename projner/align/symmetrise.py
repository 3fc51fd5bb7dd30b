"""One set of word links from two: those found reading source to target, and target to source.

Links are int32 arrays of shape (links, 2): source word, target word.
"""

from __future__ import annotations

import numpy as np

from projner.errors import JobError

METHODS = ("intersection", "union", "grow-diag-final-and", "forward", "reverse")

_Links = set[tuple[int, int]]

_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def symmetrise(forward: np.ndarray, reverse: np.ndarray, method: str) -> np.ndarray:
    """The links of one sentence pair by one of `METHODS`, sorted, each once.

    `grow-diag-final-and` is that of Koehn et al. (2003), in the order of fast_align's `atools`.
    Raises JobError for an unknown method.
    """
    one, other = _as_set(forward), _as_set(reverse)
    if method == "intersection":
        links = one & other
    elif method == "union":
        links = one | other
    elif method == "grow-diag-final-and":
        links = _grow_diag_final_and(one, other)
    elif method == "forward":
        links = one
    elif method == "reverse":
        links = other
    else:
        raise JobError(f"unknown symmetrisation {method!r}; choose one of {', '.join(METHODS)}")
    return np.array(sorted(links), dtype=np.int32).reshape(-1, 2)


def _as_set(links: np.ndarray) -> _Links:
    return set(map(tuple, links.tolist()))


def _grow_diag_final_and(forward: _Links, reverse: _Links) -> _Links:
    """The intersection, grown to neighbours in the union that link a word not linked yet, then to
    links of either direction between two such words."""
    links, union = forward & reverse, forward | reverse
    sources, targets = {i for i, _ in links}, {j for _, j in links}

    def add(link: tuple[int, int]) -> None:
        links.add(link)
        sources.add(link[0])
        targets.add(link[1])

    grown = True
    while grown:
        grown = False
        # Links found in this round wait for the next one to grow in their turn.
        for i, j in sorted(links):
            for down, right in _NEIGHBOURS:
                near = i + down, j + right
                if near in union and (near[0] not in sources or near[1] not in targets):
                    add(near)
                    grown = True
    for direction in (forward, reverse):
        for link in sorted(direction):
            if link[0] not in sources and link[1] not in targets:
                add(link)
    return links
