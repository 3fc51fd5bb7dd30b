"""Placements fit the cluster or are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.config import Pool
from projner.errors import JobError
from projner.placement import Share, place

NAMES = ("translate", "label", "align")
POOLS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.builds(
            Pool,
            actors=st.integers(1, 4),
            cpus=st.none() | st.sampled_from([0.5, 1.0, 2.0]),
            gpus=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
        ),
    ),
    min_size=1,
    max_size=3,
)
NODES = st.lists(
    st.builds(Share, st.integers(1, 16).map(float), st.integers(0, 4).map(float)),
    min_size=1,
    max_size=3,
)


@given(POOLS, NODES)
def test_a_plan_that_is_not_refused_fits(pools: list[tuple[str, Pool]], nodes: list[Share]) -> None:
    try:
        placed = place(pools, nodes)
    except JobError:
        return
    assert sum(p.smallest * p.cpus for p in placed) + 1 <= sum(n.cpus for n in nodes) + 1e-6
    assert sum(p.smallest * p.gpus for p in placed) <= sum(n.gpus for n in nodes) + 1e-6
    for (_, pool), where in zip(pools, placed, strict=True):
        assert pool.cpus is None or where.cpus == pool.cpus
        assert where.cpus <= max(1, pool.cpus or 0)
        assert any(n.cpus >= where.cpus and n.gpus >= where.gpus for n in nodes)


@given(st.integers(1, 4), st.integers(2, 16))
def test_pools_that_ask_for_nothing_always_fit_two_cpus(actors: int, cpus: int) -> None:
    placed = place([(name, Pool(actors=actors)) for name in NAMES], [Share(cpus)])
    assert all(placement.cpus > 0 for placement in placed)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(2, 16))
def test_pools_that_grow_leave_a_cpu_to_the_tasks(most: list[int], cpus: int) -> None:
    pools = [("label", Pool(actors=(1, largest))) for largest in most]
    placed = place(pools, [Share(cpus)])
    assert [(where.smallest, where.largest) for where in placed] == [(1, size) for size in most]
    assert sum(where.largest * where.cpus for where in placed) + 1 <= cpus + 1e-6


def test_gpus_are_shared_when_there_are_too_few() -> None:
    pools = [("translate", Pool(actors=2)), ("label", Pool()), ("align", Pool(gpus=0))]
    assert [where.gpus for where in place(pools, [Share(16, 1)])] == [0.33, 0.33, 0]
    assert place(pools, [Share(16, 8)])[0].gpus == 1
    # Of 0.66 each, two nodes with a GPU would hold only two.
    (placed,) = place([("label", Pool(actors=3))], [Share(8, 1), Share(8, 1)])
    assert placed.gpus == 0.5


def test_parts_are_smaller_where_the_task_would_find_no_node() -> None:
    # 0.6 each would be an equal part, but then neither node has a whole CPU left.
    (placed,) = place([("label", Pool(actors=5))], [Share(2), Share(2)])
    assert 0.4 <= placed.cpus < 0.6
    (whole,) = place([("label", Pool(actors=5))], [Share(4)])
    assert whole.cpus == 0.6


def test_the_task_leaves_the_gpus_their_cpus() -> None:
    (placed,) = place([("label", Pool(cpus=2, gpus=1))], [Share(2, 1), Share(1)])
    assert (placed.cpus, placed.gpus) == (2, 1)


@pytest.mark.parametrize(
    ("pool", "nodes"),
    [
        (Pool(cpus=2), [Share(2)]),
        (Pool(gpus=1), [Share(8)]),
        (Pool(), [Share(1)]),
        (Pool(actors=(3, 9), cpus=1), [Share(3)]),
        # Enough in all, and on no node.
        (Pool(cpus=4), [Share(3), Share(3)]),
        (Pool(gpus=1), [Share(8, 0.5), Share(8, 0.5)]),
    ],
)
def test_what_would_hang_is_refused(pool: Pool, nodes: list[Share]) -> None:
    with pytest.raises(JobError, match="do not fit together on a cluster of"):
        place([("label", pool)], nodes)
