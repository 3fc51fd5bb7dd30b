"""Who gets which CPUs and GPUs: every pool of actors, and room for one task beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from projner.config import Pool
from projner.errors import JobError


@dataclass(frozen=True)
class Placement:
    """What each actor of a pool gets, and how many there are."""

    smallest: int
    largest: int
    cpus: float
    gpus: float


def place(pools: Mapping[str, Pool], cpus: float, gpus: float) -> dict[str, Placement]:
    """Placements of the pools on a cluster of `cpus` and `gpus`.

    What a pool leaves open is shared out: GPUs equally, at most one an actor; of the CPUs, one is kept
    for the tasks that read, project and write, and an actor gets an equal part of the others, at
    most one (a fraction where there are more actors than CPUs).

    Raises JobError when the pools and one task do not fit the cluster together: they would wait for
    each other for ever.
    """
    actors = {name: _bounds(pool)[0] for name, pool in pools.items()}
    asked_cpus = sum(actors[n] * p.cpus for n, p in pools.items() if p.cpus is not None)
    asked_gpus = sum(actors[n] * p.gpus for n, p in pools.items() if p.gpus is not None)
    open_cpus = sum(actors[n] for n, p in pools.items() if p.cpus is None)
    open_gpus = sum(actors[n] for n, p in pools.items() if p.gpus is None)
    each_cpus = _share(cpus - 1 - asked_cpus, open_cpus)
    each_gpus = _share(gpus - asked_gpus, open_gpus)
    needs = asked_cpus + 1 + (each_cpus * open_cpus), asked_gpus
    if needs[0] > cpus + 1e-6 or needs[1] > gpus + 1e-6 or (open_cpus and each_cpus <= 0):
        described = ", ".join(f"{name} {count}" for name, count in actors.items())
        raise JobError(
            f"resources: the actors ({described}) and one task do not fit together on a cluster of "
            f"{cpus:g} CPUs and {gpus:g} GPUs; ask for fewer actors, or fewer cpus and gpus each"
        )
    return {
        name: Placement(
            *_bounds(pool),
            cpus=each_cpus if pool.cpus is None else pool.cpus,
            gpus=each_gpus if pool.gpus is None else pool.gpus,
        )
        for name, pool in pools.items()
    }


def _bounds(pool: Pool) -> tuple[int, int]:
    return pool.actors if isinstance(pool.actors, tuple) else (pool.actors, pool.actors)


def _share(left: float, actors: int) -> float:
    """An equal part for each actor, at most 1, in hundredths so that the parts never exceed the whole."""
    if not actors or left <= 0:
        return 0.0
    return min(1.0, int(100 * left / actors) / 100)
