"""One writer at a time, and what becomes of a dead one's lease."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from projner.errors import JobError
from projner.runs import lease


def left_behind(folder: Path, age: float, **owner: object) -> Path:
    path = folder / "lease.json"
    path.write_text(
        json.dumps({"host": "elsewhere", "pid": 1, "since": time.time() - age, **owner})
    )
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_the_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    refused = pytest.raises(JobError, match=rf"job {os.getpid()} on \S+ has been")
    with lease.hold(tmp_path), refused, lease.hold(tmp_path):
        pass
    with lease.hold(tmp_path):
        pass


def test_the_lease_goes_when_the_job_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lease.hold(tmp_path):
        raise KeyError
    assert not (tmp_path / "lease.json").exists()


def test_a_silent_owner_elsewhere_expires(tmp_path: Path) -> None:
    left_behind(tmp_path, age=5)
    with pytest.raises(JobError, match="last sign 5 s ago"), lease.hold(tmp_path, 60):
        pass
    with lease.hold(tmp_path, 3):
        assert json.loads((tmp_path / "lease.json").read_text())["pid"] == os.getpid()


def test_a_dead_process_of_this_machine_expires_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from projner.runs import lease\n"
        "with lease.hold(Path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 9
    assert (tmp_path / "lease.json").exists()
    with lease.hold(tmp_path):
        pass


def test_a_living_owner_keeps_its_lease(tmp_path: Path) -> None:
    with lease.hold(tmp_path, 0.4):
        time.sleep(1.0)
        with pytest.raises(JobError), lease.hold(tmp_path, 0.4):
            pass


def test_a_lease_taken_over_is_not_removed_by_its_former_owner(tmp_path: Path) -> None:
    with lease.hold(tmp_path):
        (tmp_path / "lease.json").write_text(json.dumps({"token": "other"}))
    assert (tmp_path / "lease.json").exists()
