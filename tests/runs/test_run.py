"""Runs on disk: shards, snapshots, and what is refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projner import record
from projner.errors import JobError
from projner.runs import run as runs
from projner.runs.run import Run, Wanted


def shard(ids: Sequence[int], status: str = "ok", revision: int = 0) -> pa.Table:
    columns = ["id", "revision", "target_text", "status", "status_detail"]
    rows = [
        {"id": id_, "revision": revision, "target_text": f"t{id_}", "status": status} for id_ in ids
    ]
    return pa.Table.from_pylist(rows, schema=record.schema(columns))


def wanted(ids: Sequence[int], revisions: Sequence[int] | int = 0) -> Wanted:
    column = np.broadcast_to(np.array(revisions, np.int64), len(ids))
    return Wanted(np.array(ids, np.int64), column)


def origins(count: int) -> pa.Table:
    return pa.table({"file": ["f"] * count, "position": pa.array(range(count), pa.int64())})


def begun(folder: Path, name: str = "abc") -> Run:
    run = Run(folder / "runs" / name)
    run.begin({"schema": 1})
    return run


def publish(run: Run, ids: Sequence[int], revisions: Sequence[int] | int = 0) -> runs.Snapshot:
    return run.publish(wanted(ids, revisions), origins(len(ids)), signature="sig")


def missing(run: Run, ids: Sequence[int]) -> list[int]:
    return [id_ for id_, lost in zip(ids, run.locate(wanted(ids)).missing, strict=True) if lost]


def test_a_snapshot_is_read_in_corpus_order(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([5, -3]))
    run.write_shard(shard([9, 1], "empty"))
    snapshot = publish(run, [1, 5, 9, -3])
    assert run.read(snapshot)["id"].to_pylist() == [1, 5, 9, -3]
    assert run.read(snapshot, ["target_text"])["target_text"].to_pylist() == [
        "t1",
        "t5",
        "t9",
        "t-3",
    ]
    assert snapshot.statuses == {"empty": 2, "ok": 2}
    assert run.latest() == snapshot
    assert run.snapshot(1) == snapshot
    assert runs.find(tmp_path).folder == run.folder


def test_a_snapshot_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1]))
    publish(run, [1])
    with pytest.raises(JobError, match=r"has no snapshot 3; there are 1$"):
        run.snapshot(3)


def test_rows_that_left_the_corpus_leave_the_next_snapshot(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2]))
    run.write_shard(shard([3]))
    first = publish(run, [1, 2, 3])
    second = publish(run, [2])
    assert run.read(second)["id"].to_pylist() == [2]
    assert set(second.shards) < set(first.shards)
    assert run.read(first)["id"].to_pylist() == [1, 2, 3]


def test_a_lost_row_is_never_published(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1]))
    with pytest.raises(RuntimeError, match="1 of 2 rows are in no shard"):
        publish(run, [1, 2])
    assert run.latest() is None


def test_a_shard_that_was_written_and_is_not_there_is_missed(tmp_path: Path) -> None:
    run = begun(tmp_path)
    written = [run.write_shard(shard([1])), run.write_shard(shard([1]))]
    os.unlink(run.folder / "data" / written[1])
    with pytest.raises(RuntimeError, match="1 shards that were written are not there"):
        run.publish(wanted([1]), origins(1), signature="sig", written=written)
    assert run.latest() is None


@pytest.mark.parametrize("status", [None, "no such status"])
def test_rows_whose_status_says_nothing_are_never_published(
    tmp_path: Path, status: str | None
) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2]))
    run.write_shard(record.with_column(shard([3]), "status", [status]))
    with pytest.raises(RuntimeError, match="do not add up to 3"):
        publish(run, [1, 2, 3])
    assert run.latest() is None


def test_a_row_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    run = begun(tmp_path)
    first, second = (run.write_shard(shard(ids)) for ids in ([1, 2, 3], [2, 1]))
    snapshot = publish(run, [1, 2, 3])
    assert run.read(snapshot)["id"].to_pylist() == [1, 2, 3]
    assert snapshot.rows == sum(snapshot.statuses.values()) == 3
    # What is published stays, though the other copy be older by its writer's clock.
    third = run.write_shard(shard([1, 2, 3]))
    os.rename(run.folder / "data" / third, run.folder / "data" / f"0000-000{third[8:]}")
    assert publish(run, [1, 2, 3]).shards == snapshot.shards
    assert {first, second} >= set(snapshot.shards)


def test_the_newest_attempt_counts(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2, 3], "error"))
    before = publish(run, [1, 2, 3])
    assert run.locate(wanted([1, 2, 3]), statuses=True).with_status(["error"]).all()
    run.write_shard(shard([2]), attempt=1)
    run.write_shard(shard([2, 3], "empty"), attempt=10)
    located = run.locate(wanted([1, 2, 3]), statuses=True)
    assert located.with_status(["error"]).tolist() == [True, False, False]
    assert located.attempts == 10
    assert not run.holds(before, wanted([1, 2, 3]), located)
    after = publish(run, [1, 2, 3])
    assert run.read(after)["status"].to_pylist() == ["error", "empty", "empty"]
    assert run.read(before)["status"].to_pylist() == ["error"] * 3
    assert run.holds(after, wanted([1, 2, 3]), located)


def test_another_revision_is_another_row(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2], revision=7))
    assert run.locate(wanted([1, 2], [7, 8])).missing.tolist() == [False, True]
    run.write_shard(shard([2], "empty", revision=8))
    assert run.read(publish(run, [1, 2], [7, 8]))["status"].to_pylist() == ["ok", "empty"]


def test_a_retried_row_goes_on_as_another_revision(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2, 3], revision=5))
    before = run.handed_on(publish(run, [1, 2, 3], 5))
    assert before.revisions.tolist() == [5, 5, 5]
    for attempt in (1, 2):
        name = run.write_shard(shard([2], revision=5), attempt=attempt)
        after = run.handed_on(publish(run, [1, 2, 3], 5))
        assert after.ids.tolist() == [1, 2, 3]
        assert (after.revisions == before.revisions).tolist() == [True, False, True]
        before, seen = after, before
        # The rows that a child reads say the same as what it is asked for.
        assert run.hand_on([(name, np.array([2]))])["revision"][0].as_py() == after.revisions[1]
    assert seen.revisions[1] != before.revisions[1]


def test_a_half_written_shard_does_not_count(tmp_path: Path) -> None:
    run = begun(tmp_path)
    Path(run.folder / "data" / ".0000-0.parquet.abc").write_bytes(b"PAR1 torn")
    assert missing(run, [1]) == [1]


def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1]))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(JobError, match="No space left on device; mend that, and run the same"):
            run.write_shard(shard([2]))
        with pytest.raises(JobError, match="No space left on device"):
            publish(run, [1])
    assert missing(run, [1, 2]) == [2]
    assert run.latest() is None
    assert not list(tmp_path.rglob(".*"))
    publish(run, [1])


def test_a_snapshot_is_published_once(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1]))

    def other() -> None:
        publish(run, [1])

    with pytest.raises(JobError, match="another job published snapshot 1 meanwhile"):
        run.publish(wanted([1]), origins(1), signature="late", confirm=other)
    latest = run.latest()
    assert latest is not None
    assert latest.signature == "sig"
    assert run.ids(latest).tolist() == [1]


def test_who_lost_the_lease_publishes_nothing(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1]))

    def fenced() -> None:
        raise JobError("fenced")

    with pytest.raises(JobError, match="fenced"):
        run.publish(wanted([1]), origins(1), signature="sig", confirm=fenced)
    assert run.latest() is None


def test_an_index_that_is_not_what_was_written_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2]))
    monkeypatch.setattr(Run, "ids", lambda *_: np.array([1]))
    with pytest.raises(RuntimeError, match="not stored as it was written"):
        publish(run, [1, 2])
    assert run.latest() is None


def test_seconds_of_the_shards_that_are_used_are_summed_up(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1]), {"read": 1.5})
    run.write_shard(shard([2]), {"read": 1.0, "write": 2.0})
    run.write_shard(shard([3]), {"read": 100.0})
    assert publish(run, [1, 2]).seconds == {"read": 2.5, "write": 2.0}


def test_other_settings_are_refused_by_key(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.begin({"schema": 1})
    with pytest.raises(JobError, match=r"other settings \(schema\)"):
        run.begin({"schema": 2})


def test_which_run_a_folder_means(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no finished run here"):
        runs.find(tmp_path)
    for name in ("a", "b"):
        run = Run(tmp_path / "runs" / name)
        run.begin({"name": name})
        run.write_shard(shard([1]))
        publish(run, [1])
    with pytest.raises(JobError, match="holds several runs; give one of"):
        runs.find(tmp_path)
    assert runs.find(tmp_path / "runs" / "b").fingerprint == "b"


def test_the_final_run_of_a_chain_is_the_one_meant(tmp_path: Path) -> None:
    for name, parent in (("prepared", None), ("projected", ("prepared", 1))):
        run = Run(tmp_path / "runs" / name)
        run.begin({})
        run.write_shard(shard([1]))
        run.publish(wanted([1]), origins(1), parent=parent, signature="sig")
    assert runs.find(tmp_path).fingerprint == "projected"


def test_shards_read_like_any_parquet(tmp_path: Path) -> None:
    run = begun(tmp_path)
    name = run.write_shard(shard([1, 2]))
    assert pq.read_table(run.folder / "data" / name)["id"].to_pylist() == [1, 2]
