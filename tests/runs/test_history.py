"""Snapshots side by side, and what is taken away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from projner import record
from projner.errors import JobError
from projner.runs import history, lease
from projner.runs.run import Run
from tests.runs.test_run import begun, origins, publish, shard, wanted


def files(run: Run) -> set[str]:
    return set((run.folder / "data").files())


def later() -> None:
    """Let what comes next be younger than a snapshot, whose moment has milliseconds."""
    time.sleep(0.003)


def test_what_came_went_and_changed(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2, 3, 4], "error"))
    first = publish(run, [1, 2, 3, 4])
    run.write_shard(shard([5, 6]))
    run.write_shard(shard([2]), attempt=1)
    # A retry that failed again changed nothing.
    run.write_shard(shard([3], "error"), attempt=1)
    second = publish(run, [6, 3, 2, 1, 5])
    found = history.diff(run, first, second, examples=1)
    assert (found.added, found.removed, found.changed, found.same) == (2, 1, 1, 2)
    examples = found.examples
    assert [row["id"] for row in examples["added"]] == [6]
    assert [row["id"] for row in examples["removed"]] == [4]
    (changed,) = examples["changed"]
    assert (changed["id"], changed["status"], changed["text"]) == (2, "ok", "t2")
    assert changed["was"] == {"status": ["error", "ok"]}
    back = history.diff(run, second, first, examples=0)
    assert (back.added, back.removed, back.changed, back.same) == (1, 2, 1, 2)
    assert back.examples == {"added": [], "removed": [], "changed": []}


def test_a_corrected_row_under_an_id_of_its_own_has_changed(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2], revision=5))
    first = publish(run, [1, 2], 5)
    corrected = record.with_column(shard([2], revision=6), "target_text", ["corrected"])
    run.write_shard(corrected)
    found = history.diff(run, first, publish(run, [1, 2], [5, 6]))
    assert (found.added, found.removed, found.changed, found.same) == (0, 0, 1, 1)
    assert found.examples["changed"][0]["was"] == {"target_text": ["t2", "corrected"]}


def test_what_no_kept_snapshot_needs_is_taken(tmp_path: Path) -> None:
    run = begun(tmp_path)
    old = run.write_shard(shard([1]))
    both = run.write_shard(shard([2, 3]))
    publish(run, [1, 2, 3])
    new = run.write_shard(shard([4]))
    unused = run.write_shard(shard([4]))
    second = publish(run, [3, 4])
    later()
    unpublished = run.write_shard(shard([5]))
    for part in ("data", "snapshots", "index", "."):
        Path(run.folder / part / ".torn.parquet.abc").write_bytes(b"PAR1")
    (run.folder / "steps" / "eflomal-lost").make()
    (taken,) = history.collect(str(tmp_path), keep=1)
    assert (taken.snapshots, taken.shards, taken.others) == ([1], 2, 6)
    assert taken.bytes > 0
    # A copy is as good as the other one; what is not published yet is not lost.
    assert files(run) in ({both, new, unpublished}, {both, unused, unpublished})
    assert old not in files(run)
    assert run.snapshots() == [2]
    assert run.read(second)["id"].to_pylist() == [3, 4]
    assert set((run.folder / "index").files()) == {second.index}
    assert not [*tmp_path.rglob(".*"), *tmp_path.rglob("*lost*")]
    assert history.collect(str(tmp_path), keep=1)[0].shards == 0
    assert publish(run, [3, 4, 5]).number == 3


def test_steps_that_are_used_stay(tmp_path: Path) -> None:
    run = begun(tmp_path)
    (run.folder / "steps" / "eflomal-used").make()
    (run.folder / "steps" / "eflomal.json").write(b'{"folder": "eflomal-used"}')
    history.collect(str(run.folder), keep=1)
    assert (run.folder / "steps").folders() == ["eflomal-used"]


def test_a_run_without_snapshots_keeps_its_shards(tmp_path: Path) -> None:
    run = begun(tmp_path)
    names = {run.write_shard(shard([1])), run.write_shard(shard([1]))}
    history.collect(str(run.folder), keep=1)
    assert files(run) == names


def family(folder: Path) -> tuple[Run, Run]:
    """A run with three snapshots, and one that read the second of them."""
    parent, child = Run(folder / "runs" / "parent"), Run(folder / "runs" / "child")
    parent.begin({"parent": None})
    child.begin({"parent": "parent"})
    for number in range(3):
        parent.write_shard(shard([number]))
        publish(parent, [number])
        later()
    child.write_shard(shard([1]))
    child.publish(wanted([1]), origins(1), parent=("parent", 2), signature="sig")
    return parent, child


@pytest.mark.parametrize("alone", [True, False])
def test_what_another_run_read_stays(tmp_path: Path, alone: bool) -> None:
    parent, _ = family(tmp_path)
    taken = history.collect(str(parent.folder) if alone else str(tmp_path), keep=1)
    assert [each.run for each in taken] == (["parent"] if alone else ["child", "parent"])
    assert parent.snapshots() == [2, 3]
    for number in (2, 3):
        assert parent.read(parent.snapshot(number)).num_rows == 1


@pytest.mark.parametrize(("held", "location"), [("child", "parent"), ("parent", "parent")])
def test_nothing_is_taken_while_somebody_writes(tmp_path: Path, held: str, location: str) -> None:
    family(tmp_path)
    before = sorted(tmp_path.rglob("data/*"))
    with (
        lease.hold(tmp_path / "runs" / held),
        pytest.raises(JobError, match=rf"{held}: job {os.getpid()} on .* has been writing"),
    ):
        history.collect(str(tmp_path / "runs" / location), keep=1)
    assert sorted(tmp_path.rglob("data/*")) == before


def test_a_child_is_collected_while_its_parent_is_written(tmp_path: Path) -> None:
    parent, child = family(tmp_path)
    with lease.hold(parent.folder):
        assert history.collect(str(child.folder), keep=1)[0].run == "child"


def test_what_cannot_be_collected(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no run here"):
        history.collect(str(tmp_path), keep=1)
    with pytest.raises(JobError, match="keep at least one"):
        history.collect(str(begun(tmp_path).folder), keep=0)
