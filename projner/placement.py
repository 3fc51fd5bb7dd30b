"""Who gets which CPUs and GPUs: every pool of actors, and room for one task beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from projner.config import Pool
from projner.errors import JobError


class Share(NamedTuple):
    """What a node has, or an actor or a task takes of it."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Placement:
    """What each actor of a pool gets, and how many there are."""

    smallest: int
    largest: int
    cpus: float
    gpus: float


def place(pools: Sequence[tuple[str, Pool]], nodes: Sequence[Share]) -> list[Placement]:
    """Placements of named pools on a cluster of `nodes`.

    What a pool leaves open is shared out: GPUs equally, at most one an actor; of the CPUs, one is kept
    for the tasks that read, project and write, and an actor gets an equal part of the others, at
    most one (a fraction where there are more actors than CPUs, counting those that may come).

    Raises JobError when the pools and one task do not fit the nodes together: they would wait for
    each other for ever.
    """
    cpus, gpus = (sum(kind) for kind in zip(*nodes, strict=True))
    asked = [(*_bounds(pool), pool) for _, pool in pools]
    open_gpus = sum(least for least, _, pool in asked if pool.gpus is None)
    taken_gpus = sum(least * pool.gpus for least, _, pool in asked if pool.gpus is not None)
    each_gpus = _part(gpus - taken_gpus, open_gpus)
    # A pool that grows must not grow into the CPU of the tasks that feed it.
    open_cpus = sum(most for _, most, pool in asked if pool.cpus is None)
    taken_cpus = sum(least * pool.cpus for least, _, pool in asked if pool.cpus is not None)
    each_cpus = _part(cpus - 1 - taken_cpus, open_cpus)
    # Equal parts of the whole may find no place on any node, or leave the task none; smaller ones do.
    for some_gpus, some_cpus in product(_down(each_gpus), _down(each_cpus)):
        placed = [
            Placement(
                least,
                most,
                cpus=some_cpus if pool.cpus is None else pool.cpus,
                gpus=some_gpus if pool.gpus is None else pool.gpus,
            )
            for least, most, pool in asked
        ]
        if (some_cpus > 0 or not open_cpus) and _fit(placed, nodes):
            return placed
    described = ", ".join(f"{n} {each[0]}" for (n, _), each in zip(pools, asked, strict=True))
    size = f"{cpus:g} CPUs and {gpus:g} GPUs" + (f" on {len(nodes)} nodes" if nodes[1:] else "")
    raise JobError(
        f"resources: the actors ({described}) and one task do not fit together on a cluster of "
        f"{size}; ask for fewer actors, or fewer cpus and gpus each"
    )


def _fit(placed: Iterable[Placement], nodes: Sequence[Share]) -> bool:
    """Whether the pools at their least and one task find their places, the largest first."""
    wanted = [Share(1.0), *(Share(p.cpus, p.gpus) for p in placed for _ in range(p.smallest))]
    left = [[*node] for node in nodes]
    for cpus, gpus in sorted(wanted, key=lambda each: (-each.gpus, -each.cpus)):
        able = (node for node in left if node[0] >= cpus - 1e-6 and node[1] >= gpus - 1e-6)
        # On the node with the fewest GPUs to spare, lest what needs none takes their CPUs.
        node = min(able, key=lambda each: (each[1], each[0]), default=None)
        if node is None:
            return False
        node[0] -= cpus
        node[1] -= gpus
    return True


def _bounds(pool: Pool) -> tuple[int, int]:
    return pool.actors if isinstance(pool.actors, tuple) else (pool.actors, pool.actors)


def _down(part: float) -> list[float]:
    """A part and smaller ones, but nothing only where it is nothing."""
    return [hundredths / 100 for hundredths in range(round(100 * part), 0, -1)] or [0.0]


def _part(left: float, actors: int) -> float:
    """An equal part for each actor, at most 1, in hundredths so that the parts never exceed the whole."""
    if not actors or left <= 0:
        return 0.0
    return min(1.0, int(100 * left / actors + 1e-6) / 100)
