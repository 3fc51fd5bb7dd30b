"""Killed actors, nodes and drivers on a Ray of several nodes: what comes out is what would have.

`python -m tests.cluster.killing --rounds 20` does the same for longer, with kinds and moments drawn.
"""

from __future__ import annotations

import pytest

from tests.cluster import killing

pytestmark = pytest.mark.slow

KINDS = [("actor", "driver"), ("node",)]


def test_what_is_killed_is_made_good() -> None:
    rounds = list(killing.kill(len(KINDS), seed=7, kinds=KINDS))
    assert [each.problems for each in rounds] == [[]] * len(KINDS)
    for kinds, each in zip(KINDS, rounds, strict=True):
        assert each.drivers <= 1 + kinds.count("driver")


def test_a_difference_is_found() -> None:
    rows = [{"id": n, "tags": ["O"], "links": [{"score": 0.5}]} for n in range(3)]
    assert killing.differences(rows, [dict(row) for row in rows]) == []
    near = [{**row, "links": [{"score": 0.50001}]} for row in rows]
    assert killing.differences(rows, near) == []
    assert killing.differences(rows, rows[:2]) != []
    assert killing.differences(rows, rows[::-1]) != []
    assert killing.differences(rows, [*rows[:2], rows[1]]) == ["rows are doubled"]
    for other in ({"tags": ["B-X"]}, {"links": [{"score": 0.6}]}, {"links": None}):
        assert len(killing.differences(rows, [rows[0], {**rows[1], **other}, rows[2]])) == 1
