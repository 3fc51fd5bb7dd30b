"""Placements fit the cluster or are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.config import Pool
from projner.errors import JobError
from projner.placement import place

POOLS = st.dictionaries(
    st.sampled_from(["translate", "label", "align"]),
    st.builds(
        Pool,
        actors=st.integers(1, 4),
        cpus=st.none() | st.sampled_from([0.5, 1.0, 2.0]),
        gpus=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    ),
    min_size=1,
)


@given(POOLS, st.integers(1, 16), st.integers(0, 8))
def test_a_plan_that_is_not_refused_fits(pools: dict[str, Pool], cpus: int, gpus: int) -> None:
    try:
        placed = place(pools, cpus, gpus)
    except JobError:
        return
    assert sum(p.smallest * p.cpus for p in placed.values()) + 1 <= cpus + 1e-6
    assert sum(p.smallest * p.gpus for p in placed.values()) <= gpus + 1e-6
    for name, pool in pools.items():
        assert pool.cpus is None or placed[name].cpus == pool.cpus
        assert placed[name].cpus <= max(1, pool.cpus or 0)


@given(st.integers(1, 4), st.integers(2, 16))
def test_pools_that_ask_for_nothing_always_fit_two_cpus(actors: int, cpus: int) -> None:
    pools = {name: Pool(actors=actors) for name in ("translate", "label", "align")}
    placed = place(pools, cpus, 0)
    assert all(placement.cpus > 0 for placement in placed.values())


def test_gpus_are_shared_when_there_are_too_few() -> None:
    pools = {"translate": Pool(actors=2), "label": Pool(), "align": Pool(gpus=0)}
    placed = place(pools, 16, 1)
    assert placed["translate"].gpus == placed["label"].gpus == 0.33
    assert placed["align"].gpus == 0
    assert place(pools, 16, 8)["translate"].gpus == 1


@pytest.mark.parametrize(
    ("pools", "cpus", "gpus"),
    [
        ({"label": Pool(cpus=2)}, 2, 0),
        ({"label": Pool(gpus=1)}, 8, 0),
        ({"label": Pool()}, 1, 0),
        ({"label": Pool(actors=(3, 9), cpus=1)}, 3, 0),
    ],
)
def test_what_would_hang_is_refused(pools: dict[str, Pool], cpus: int, gpus: int) -> None:
    with pytest.raises(JobError, match="do not fit together on a cluster of"):
        place(pools, cpus, gpus)


def test_a_growing_pool_is_placed_at_its_least() -> None:
    placed = place({"label": Pool(actors=(1, 9))}, 2, 0)
    assert (placed["label"].smallest, placed["label"].largest) == (1, 9)
