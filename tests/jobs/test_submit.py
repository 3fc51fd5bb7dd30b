"""The main job sent to a cluster, as the README has it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from projner.runs import run as runs
from tests.conftest import PAIRS, ROOT, labelled

RAY = Path(sys.executable).with_name("ray")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    # On a cluster `python` is the one that Ray runs on.
    "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
    "RAY_AUTH_MODE": "disabled",
}


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address that jobs are submitted to, of a cluster of one node and two CPUs."""
    pytest.importorskip("aiohttp", reason="needs the dashboard, ray[default]")
    port = free_port()
    # Short, for sockets go there, whose paths may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    ports = [
        "--port",
        free_port(),
        "--dashboard-port",
        port,
        "--ray-client-server-port",
        free_port(),
        # Another Ray of this machine may have the default one.
        "--dashboard-agent-listen-port",
        free_port(),
    ]
    head = subprocess.Popen(
        [RAY, "start", "--head", "--block", "--num-cpus", "2", "--temp-dir", folder, *ports],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if answers(address):
                break
            time.sleep(0.2)
        assert head.poll() is None, "the cluster did not start"
        yield address
    finally:
        # Its own processes alone: `ray stop` would stop every Ray of this machine.
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.slow
def test_a_job_is_submitted_to_a_cluster(
    cluster: str, bitext: Callable[..., dict[str, Any]], job_file: Callable[..., Path]
) -> None:
    job = bitext()
    submit = [RAY, "job", "submit", "--address", cluster, "--working-dir", "."]
    for _ in range(30):
        done = subprocess.run(
            [*submit, "--", "python", "jobs/project.py", job_file(job)],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        # The dashboard may answer before its node is ready.
        if "No available agent to submit job" not in done.stderr:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 rows, 5 computed now" in done.stdout
    run = runs.find(job["output"])
    snapshot = run.latest()
    assert snapshot is not None
    assert run.read(snapshot)["tokens"].to_pylist() == [labelled(pair.target)[0] for pair in PAIRS]
