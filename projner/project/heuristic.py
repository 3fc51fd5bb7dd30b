"""Projection by rules on links, without a choice between spans.

After García-Ferrero et al. 2022 (arXiv 2210.12623); as a rival of matching in Politov et al. 2025
(arXiv 2501.18750).
"""

from __future__ import annotations

import numpy as np

from projner.project.candidates import Indices

Projection = tuple[int, int, int, float]
"""(index of the entity, start, end exclusive, score): the score is the share of the entity's words
that have a link into the span."""


def heuristic(
    entities: Indices,
    links: Indices,
    n_target: int,
    merge: int = 1,
    ratio: float = 0.8,
    limit: int | None = None,
) -> list[Projection]:
    """Every run of linked target words that is long enough for its entity.

    Runs of one entity that are at most `merge` words apart become one; a run is kept if it has more
    than `ratio` times as many words as the entity, and if no word of it is taken. Shorter entities
    come first, then earlier ones; of an entity's runs the longest, then the first, `limit` in all.

    Args:
        entities: int32 (n, 2), source words as [start, end).
        links: int32 (k, 2) of (source, target) words.
        n_target: words of the target sentence.

    Returns:
        Projections in reading order.
    """
    taken = np.zeros(n_target, bool)
    found = []
    for entity in np.argsort(entities[:, 1] - entities[:, 0], kind="stable"):
        start, end = entities[entity]
        own = _links_of(links, start, end)
        runs = [run for run in _runs(own[:, 1], merge) if run[1] - run[0] > ratio * (end - start)]
        runs = [run for run in runs if not taken[slice(*run)].any()]
        for run in sorted(runs, key=lambda run: (run[0] - run[1], run[0]))[:limit]:
            taken[slice(*run)] = True
            found.append((int(entity), *run, _coverage(own, run) / int(end - start)))
    return sorted(found, key=lambda projection: projection[1])


def span(entities: Indices, links: Indices, n_target: int) -> list[Projection]:
    """Each entity on the words from its first linked one to its last.

    Entities come in their order; one whose span holds a word that is taken is left out. Arguments
    and result are those of `heuristic`.
    """
    taken = np.zeros(n_target, bool)
    found = []
    for entity, (start, end) in enumerate(entities):
        own = _links_of(links, start, end)
        if not len(own):
            continue
        reach = int(own[:, 1].min()), int(own[:, 1].max()) + 1
        if not taken[slice(*reach)].any():
            taken[slice(*reach)] = True
            found.append((entity, *reach, _coverage(own, reach) / int(end - start)))
    return sorted(found, key=lambda projection: projection[1])


def _links_of(links: Indices, start: int, end: int) -> Indices:
    return links[(links[:, 0] >= start) & (links[:, 0] < end)]


def _coverage(links: Indices, run: tuple[int, int]) -> int:
    """How many source words have one of `links` into `run`."""
    inside = (links[:, 1] >= run[0]) & (links[:, 1] < run[1])
    return len(np.unique(links[inside, 0]))


def _runs(words: Indices, merge: int) -> list[tuple[int, int]]:
    """Stretches [start, end) of words, at most `merge` other words between two of a stretch."""
    words = np.unique(words)
    breaks = np.nonzero(np.diff(words) > merge + 1)[0] + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(words, breaks) if len(part)]
