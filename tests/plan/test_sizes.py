"""Machines, hours and bytes from what a row costs."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.errors import JobError
from projner.plan.sizes import ALONE_SHARE, Measured, Nodes, Step, balance, plan, plan_run, within
from projner.report import summary

HOUR = 3600


def measured(*steps: Step, **changes: object) -> Measured:
    stored = {step.run: 100.0 for step in steps}
    return replace(Measured(1000, 1, steps, stored, 50.0, "sig"), **changes)


TRANSLATE = Step("prepare", "translate", 1 / 100, "translate", gpus=1, cpus=1, setup=30)
LABEL = Step("prepare", "label", 1 / 300, "label", gpus=1, cpus=1)
READ = Step("prepare", "read", 1 / 10_000)
WRITE = Step("prepare", "write", 1 / 10_000)
MATCH = Step("project", "match", 1 / 1000)
CHEAP = Step("project", "read", 0.0)


@pytest.mark.parametrize(
    ("seconds", "actors", "expected"),
    [
        ([1.0], 1, [1]),
        ([1.0], 7, [7]),
        ([3.0, 1.0], 4, [3, 1]),
        ([3.0, 1.0], 8, [6, 2]),
        ([1.0, 1.0, 1.0], 3, [1, 1, 1]),
        ([0.0, 5.0], 5, [1, 4]),
        ([100.0, 1.0, 1.0], 4, [2, 1, 1]),
    ],
)
def test_actors_in_proportion_to_work(
    seconds: list[float], actors: int, expected: list[int]
) -> None:
    assert balance(seconds, actors) == expected


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=4).flatmap(
        lambda seconds: st.tuples(st.just(seconds), st.integers(len(seconds), 9))
    )
)
def test_no_other_division_is_faster(case: tuple[list[float], int]) -> None:
    seconds, actors = case
    found = balance(seconds, actors)
    assert sum(found) == actors

    def slowest(counts: tuple[int, ...]) -> float:
        return max(spent / count for spent, count in zip(seconds, counts, strict=True))

    every = itertools.product(range(1, actors + 1), repeat=len(seconds))
    best = min(slowest(counts) for counts in every if sum(counts) == actors)
    assert slowest(tuple(found)) == pytest.approx(best)


def test_gpus_are_shared_out_and_cpus_do_the_rest() -> None:
    # 4 GPUs: 3 translate 300 rows a second, 1 labels 300; the CPUs could do far more.
    run = plan_run("prepare", [READ, TRANSLATE, LABEL, WRITE], 300 * HOUR, 100, Nodes(4, 8, 1))
    assert run.hours == pytest.approx(1)
    assert run.bound in ("translate", "label")
    actors = {part.step.name: part.actors for part in run.parts}
    assert (actors["translate"], actors["label"]) == (3, 1)
    # 28 CPUs are left to tasks, which share them by their work.
    assert actors["read"] == actors["write"] == pytest.approx(14)
    busy = {part.step.name: part.busy for part in run.parts}
    assert busy["translate"] == pytest.approx(1)
    assert busy["label"] == pytest.approx(1)
    assert busy["read"] == pytest.approx(300 / 10_000 / 14)
    assert run.gpu_hours == pytest.approx(4)
    assert run.cpu_hours == pytest.approx(32)
    assert run.stored == 300 * HOUR * 100


def test_stages_take_turns_on_too_few_gpus() -> None:
    run = plan_run("prepare", [READ, TRANSLATE, LABEL, WRITE], 75 * HOUR, 100, Nodes(1, 8, 1))
    # 1/100 + 1/300 seconds of a GPU for each row: 75 rows a second.
    assert run.hours == pytest.approx(1)
    actors = {part.step.name: part.actors for part in run.parts}
    assert actors["translate"] == pytest.approx(0.75)
    assert actors["label"] == pytest.approx(0.25)


def test_a_run_on_cpus_holds_no_gpus() -> None:
    run = plan_run("project", [CHEAP, MATCH], 8000 * HOUR, 10, Nodes(1, 8, 1))
    assert (run.hours, run.bound, run.gpu_hours) == (pytest.approx(1), "tasks", 0)


def test_models_on_cpus_are_actors_of_whole_cpus() -> None:
    slow = replace(TRANSLATE, gpus=0)
    run = plan_run("prepare", [READ, slow, WRITE], 700 * HOUR, 10, Nodes(1, 8, 0))
    assert {part.step.name: part.actors for part in run.parts}["translate"] == 7
    assert run.hours == pytest.approx(1)


def test_what_the_driver_does_alone_is_added() -> None:
    index = Step("project", "index", 1 / 1000, serial=True)
    run = plan_run("project", [index, MATCH], 1000 * HOUR, 10, Nodes(1, 2, 0))
    assert run.hours == pytest.approx(1 + 1 / 2)
    assert (run.bound, run.alone) == ("index", pytest.approx(1))
    two = plan_run("project", [index, MATCH], 1000 * HOUR, 10, Nodes(1, 2, 0), jobs=2)
    assert two.hours == pytest.approx(1 / 2 + 1 / 2)
    learns = replace(index, rows=100 * HOUR)
    run = plan_run("project", [learns, MATCH], 1000 * HOUR, 10, Nodes(1, 2, 0))
    assert run.alone == pytest.approx(0.1)


def test_ids_that_do_not_fit_the_driver_make_several_jobs() -> None:
    found = plan(measured(MATCH), 1000, Nodes(1, 8, 0), memory=50 * 400)
    assert (found.split, found.jobs, found.memory) == (400, 3, pytest.approx(50 * 1000 / 3))
    assert plan(measured(MATCH), 400, Nodes(1, 8, 0), memory=50 * 400).jobs == 1
    # Each sentence of the corpus becomes a row in every language.
    found = plan(measured(MATCH, languages=2), 400, Nodes(1, 8, 0), memory=50 * 400)
    assert (found.rows, found.split, found.jobs) == (800, 200, 2)


def test_a_corpus_that_is_long_to_read_makes_several_jobs() -> None:
    index = Step("project", "index", 1 / 1000, serial=True)
    steps = measured(index, MATCH)
    found = plan(steps, 1000 * HOUR, Nodes(1, 2, 0), memory=1e12)
    # Half an hour of work allows three minutes for what is done alone.
    assert found.jobs == 20
    assert found.runs[0].alone == pytest.approx(ALONE_SHARE / 2)


@pytest.mark.parametrize("hours", [0.5, 3, 24, 100])
def test_the_fewest_nodes_that_end_in_time(hours: float) -> None:
    steps = measured(READ, TRANSLATE, LABEL, WRITE, MATCH)
    shape = Nodes(1, 8, 1)
    found = within(steps, 10**8, hours, shape, 1e12)
    assert found.hours <= hours
    fewer = Nodes(found.nodes.count - 1, 8, 1)
    assert fewer.count == 0 or plan(steps, 10**8, fewer, 1e12, hours).hours > hours
    assert found.actors["translate"] == 3 * found.actors["label"] or found.nodes.count % 4


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(JobError, match="--gpus-per-node"):
        plan(measured(READ, TRANSLATE), 10, Nodes(1, 8, 0), 1e9)
    with pytest.raises(JobError, match="--cpus-per-node"):
        plan(measured(READ, TRANSLATE), 10, Nodes(1, 1, 1), 1e9)
    learns = Step("prepare", "eflomal learns", 1.0, serial=True, rows=HOUR * 5)
    with pytest.raises(JobError, match=r"one process does alone takes 5\.0 hours"):
        within(measured(learns, READ), HOUR * 9, 3, Nodes(1, 8, 0), 1e9)


def test_a_plan_is_told_as_text_and_as_json() -> None:
    found = within(measured(READ, TRANSLATE, LABEL, WRITE, MATCH), 10**9, 24, Nodes(1, 8, 1), 16e9)
    told = json.loads(json.dumps(found.as_json()))
    assert told["hours"] == found.hours
    assert [run["name"] for run in told["runs"]] == ["prepare", "project"]
    assert told["stored_bytes"] == 2 * 10**9 * 100
    assert told["runs"][0]["steps"][1]["rows_per_second"] == pytest.approx(100)
    text = summary.of_plan(found)
    for part in ("1,000,000,000 sentences", "translate", "GPU-hours", "signature sig"):
        assert part in text
    assert f"translate: {{actors: {found.actors['translate']}}}" in text
    assert math.isclose(found.gpu_hours, found.runs[0].hours * found.nodes.count)
