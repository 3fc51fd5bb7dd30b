"""Runs on disk: shards, snapshots, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from projner import record
from projner.errors import JobError
from projner.runs import run as runs
from projner.runs.run import Run


def shard(ids: list[int], status: str = "ok") -> pa.Table:
    columns = ["id", "target_text", "status", "status_detail"]
    rows = [
        {"id": id_, "target_text": f"t{id_}", "status": status, "status_detail": None}
        for id_ in ids
    ]
    return pa.Table.from_pylist(rows, schema=record.schema(columns))


def origins(count: int) -> pa.Table:
    return pa.table({"file": ["f"] * count, "position": pa.array(range(count), pa.int64())})


def begun(folder: Path) -> Run:
    run = Run(folder / "runs" / "abc")
    run.begin({"schema": 1})
    return run


def publish(run: Run, ids: list[int]) -> runs.Snapshot:
    return run.publish(np.array(ids, np.int64), origins(len(ids)), None, "sig")


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
    assert runs.find(tmp_path).folder == run.folder


def test_rows_that_left_the_corpus_leave_the_next_snapshot(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2]))
    run.write_shard(shard([3]))
    first = publish(run, [1, 2, 3])
    second = publish(run, [2])
    assert run.read(second)["id"].to_pylist() == [2]
    assert second.shards == (first.shards[0],)
    assert run.read(first)["id"].to_pylist() == [1, 2, 3]


def test_a_lost_row_is_never_published(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1]))
    with pytest.raises(RuntimeError, match="1 of 2 rows are in no shard"):
        publish(run, [1, 2])
    assert run.latest() is None


def test_a_doubled_row_is_never_published(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_shard(shard([1, 2]))
    run.write_shard(shard([2, 1]))
    with pytest.raises(RuntimeError, match="another shard of the run holds too"):
        publish(run, [1, 2])
    assert run.latest() is None


def test_writing_a_shard_again_replaces_it(tmp_path: Path) -> None:
    run = begun(tmp_path)
    assert run.write_shard(shard([1, 2])) == run.write_shard(shard([1, 2]))
    assert run.done().tolist() == [1, 2]


def test_a_half_written_shard_does_not_count(tmp_path: Path) -> None:
    run = begun(tmp_path)
    (run.folder / "data" / ".0000000000000007.parquet.abc").write_bytes(b"PAR1 torn")
    assert run.done().tolist() == []


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
    for name, parent in (("prepared", None), ("projected", "prepared")):
        run = Run(tmp_path / "runs" / name)
        run.begin({})
        run.write_shard(shard([1]))
        run.publish(np.array([1]), origins(1), parent, "sig")
    assert runs.find(tmp_path).fingerprint == "projected"
