"""A job whose driver dies at the worst moments, and the one that comes after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from projner import methods
from projner.runs import run as runs
from tests.cluster import driver, killing
from tests.test_pipeline import done

POINTS = {
    "all shards written": None,
    "index written": None,
    "snapshot created": 1,
    "half a lease renewed": None,
}
"""Where a driver dies, and the snapshot that it leaves."""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A job of slow actors, for this process too."""
    notes = str(tmp_path / "notes")
    monkeypatch.setattr(methods, "preparation", lambda *_: [driver.Slow(notes, "second")])
    made = killing.slow_job(tmp_path / "corpus", rows=250)
    return {**made, "output": str(tmp_path / "out")}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_who_comes_after_goes_on_where_it_ended(
    ray_session: str, job: dict[str, Any], tmp_path: Path, point: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    process = subprocess.run(
        [sys.executable, driver.__file__, str(path), str(tmp_path / "notes"), "first", point],
        env={**os.environ, "RAY_ADDRESS": ray_session, "PYTHONPATH": str(killing.ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    before = killing.committed(tmp_path)
    if "lease" not in point:
        assert len(before) == 250
    snapshots = [
        run.snapshots() for run in map(runs.Run, sorted((tmp_path / "out" / "runs").iterdir()))
    ]
    assert snapshots == ([[POINTS[point]]] if POINTS[point] else [[]])

    result, rows = done(job)
    assert result.snapshot.rows == len({row["id"] for row in rows}) == len(rows) == 250
    assert [row["source_tokens"][0] for row in rows] == [f"Ada{n}" for n in range(250)]
    assert all(row["ner_tags"][0] == "B-PER" for row in rows)
    again = before & set(killing.notes(tmp_path).get("second", []))
    assert not again
    assert done(job)[0].computed == 0
