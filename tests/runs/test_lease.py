"""One writer at a time, and what becomes of a dead one's lease."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from projner.errors import JobError
from projner.runs import lease

ELSEWHERE = lease.Owner(host="elsewhere/boot", pid=1, started="5", job="", since=0.0)


def left_behind(folder: Path, age: float, **owner: object) -> Path:
    """Lease 1 of an owner that was silent for `age` seconds."""
    path = folder / "lease" / "000001.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(replace(ELSEWHERE, since=time.time() - age, **owner))))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def newest(folder: Path) -> dict[str, object]:
    """The content of the lease that counts."""
    return dict(json.loads(max((folder / "lease").iterdir()).read_text()))


def test_the_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    refused = pytest.raises(JobError, match=rf"job {os.getpid()} on \S+ has been writing here for")
    with lease.hold(tmp_path), refused, lease.hold(tmp_path):
        pass
    with lease.hold(tmp_path):
        pass


def test_the_lease_goes_when_the_job_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lease.hold(tmp_path):
        raise KeyError
    assert newest(tmp_path)["released"]
    with lease.hold(tmp_path):
        assert not newest(tmp_path)["released"]


def test_a_silent_owner_elsewhere_expires(tmp_path: Path) -> None:
    left_behind(tmp_path, age=5)
    with pytest.raises(JobError, match="last sign 5 s ago"), lease.hold(tmp_path, 60):
        pass
    with lease.hold(tmp_path, 3):
        assert newest(tmp_path)["pid"] == os.getpid()


def test_a_dead_process_of_this_machine_expires_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys; from projner.runs import lease\n"
        "with lease.hold(sys.argv[1]): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert not newest(tmp_path)["released"]
    with lease.hold(tmp_path):
        pass


@pytest.mark.parametrize(
    ("owner", "dead"),
    [
        ({}, False),
        # The number went to another process since.
        ({"started": "12"}, True),
        ({"host": "a container of the same name"}, False),
    ],
)
def test_a_process_is_known_by_more_than_its_number(
    tmp_path: Path, owner: dict[str, str], dead: bool
) -> None:
    me = lease._myself()
    left_behind(tmp_path, 1, **{"host": me.host, "pid": me.pid, "started": me.started, **owner})
    if dead:
        with lease.hold(tmp_path):
            return
    with pytest.raises(JobError), lease.hold(tmp_path):
        pass


def test_a_living_owner_keeps_its_lease(tmp_path: Path) -> None:
    with lease.hold(tmp_path, 0.8):
        time.sleep(1.5)
        with pytest.raises(JobError), lease.hold(tmp_path, 0.8):
            pass


def test_who_was_taken_for_dead_finds_out_and_leaves_the_lease_alone(tmp_path: Path) -> None:
    with lease.hold(tmp_path) as mine:
        mine.check()
        path = tmp_path / "lease" / "000001.json"
        # A machine that slept has given no sign.
        path.write_text(json.dumps(asdict(ELSEWHERE)))
        os.utime(path, (0, 0))
        with lease.hold(tmp_path) as other:
            for call in (mine.check, mine.renew, mine.release):
                with pytest.raises(JobError, match="another job took this one for dead"):
                    call()
            assert mine.lost
            other.check()
    # Nor does it come back when the other one has finished.
    with pytest.raises(JobError):
        mine.check()


def test_of_many_that_take_a_dead_owners_lease_one_gets_it(tmp_path: Path) -> None:
    left_behind(tmp_path, age=1000)
    start, finish = threading.Barrier(8), threading.Event()
    outcomes: list[str] = []

    def take() -> None:
        start.wait()
        try:
            with lease.hold(tmp_path):
                outcomes.append("held")
                finish.wait()
        except JobError:
            outcomes.append("refused")

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(outcomes) < 8:
        time.sleep(0.01)
    finish.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", *["refused"] * 7]


def test_a_broken_lease_is_waited_for_like_any_other(tmp_path: Path) -> None:
    left_behind(tmp_path, 1).write_text("{}")
    with pytest.raises(JobError, match="another job has been writing here"), lease.hold(tmp_path):
        pass
