"""Jobs sent to a cluster with token authentication, as the README and the manifests have them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from projner.runs import run as runs
from tests.conftest import PAIRS, ROOT, labelled

RAY = Path(sys.executable).with_name("ray")


class Cluster(NamedTuple):
    """Where jobs are sent, and the environment of those who hold its token."""

    address: str
    environment: dict[str, str]

    def ray(self, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """What `ray ARGUMENTS` does for somebody with the token."""
        for _ in range(30):
            done = subprocess.run(
                [RAY, *arguments], cwd=cwd, env=self.environment, capture_output=True, text=True
            )
            # The dashboard may answer before its node is ready.
            if "No available agent to submit job" not in done.stderr:
                break
            time.sleep(1)
        return done


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node and two CPUs that lets nobody in without its token."""
    pytest.importorskip("aiohttp", reason="needs the dashboard, projner[cluster]")
    # Short, for sockets go there, whose paths may have 107 bytes.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        # On a cluster `python` and `projner` are those that Ray runs on.
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": folder,
        "HF_HUB_OFFLINE": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_API_SERVER_ADDRESS": address,
    }
    # Into ~/.ray/auth_token.
    made = [RAY, "get-auth-token", "--generate"]
    subprocess.run(made, env=environment, check=True, capture_output=True)
    ports = [
        *("--port", free_port(), "--dashboard-port", port),
        *("--ray-client-server-port", free_port()),
        # Another Ray of this machine may have the default one.
        *("--dashboard-agent-listen-port", free_port()),
    ]
    head = subprocess.Popen(
        [RAY, "start", "--head", "--block", "--num-cpus", "2", "--temp-dir", folder, *ports],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            if status(address):
                break
            time.sleep(0.2)
        assert head.poll() is None, "the cluster did not start"
        yield Cluster(address, environment)
    finally:
        # Its own processes alone: `ray stop` would stop every Ray of this machine.
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def status(address: str, path: str = "/api/version") -> int:
    """The HTTP status of what the dashboard answers to somebody without a token; 0 for none."""
    try:
        with urllib.request.urlopen(f"{address}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def check(job: dict[str, Any]) -> int:
    """That the job's rows are those of `PAIRS`; the number of its snapshot."""
    run = runs.find(job["output"])
    snapshot = run.latest()
    assert snapshot is not None
    assert run.read(snapshot)["tokens"].to_pylist() == [labelled(pair.target)[0] for pair in PAIRS]
    return snapshot.number


@pytest.mark.slow
def test_a_job_is_submitted_with_the_code_of_this_folder(
    cluster: Cluster, bitext: Callable[..., dict[str, Any]], job_file: Callable[..., Path]
) -> None:
    job = bitext()
    scripts = [f"python jobs/{name}.py {job_file(job)}" for name in ("project", "refresh")]
    done = cluster.ray(
        *("job", "submit", "--runtime-env", "cluster/runtime-env.yaml", "--working-dir", "."),
        *("--", "sh", "-c", f"ls -A; {' && '.join(scripts)}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 rows, 5 computed now" in done.stdout
    assert "nothing has changed: snapshot 1 stays, 5 rows; 0 computed now" in done.stdout
    assert check(job) == 1
    travelled = set(done.stdout.split())
    assert {"jobs", "projner"} <= travelled
    assert not {".git", ".venv", "tests", "cluster"} & travelled


@pytest.mark.slow
def test_a_schedule_submits_once_a_tick_and_waits(
    cluster: Cluster,
    bitext: Callable[..., dict[str, Any]],
    job_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    job = bitext()
    path = job_file(job)
    manifest = (ROOT / "cluster" / "kuberay" / "refresh-cronjob.yaml").read_text(encoding="utf-8")
    pod = yaml.safe_load(manifest)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    script = container["args"][0].replace("/jobs/refresh.yaml", str(path))
    names = {item["name"] for item in container["env"]}
    environment = {"SUBMISSION_ID": "projner-refresh-29384760"}
    assert names == {"RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", *environment}
    token = Path(cluster.environment["HOME"]) / ".ray" / "auth_token"
    # As the secret gives it.
    environment["RAY_AUTH_TOKEN"] = token.read_text(encoding="utf-8").strip()
    ticks = []
    for _ in range(2):
        ticks.append(
            subprocess.run(
                [*container["command"], script],
                env={**cluster.environment, **environment, "HOME": str(tmp_path)},
                capture_output=True,
                text=True,
            )
        )
    for tick in ticks:
        assert tick.returncode == 0, tick.stdout + tick.stderr
        assert "first snapshot: 5 rows; 5 computed now" in tick.stdout
    # The pod that came second found the job of the first.
    assert check(job) == 1
    listed = cluster.ray("job", "list")
    assert listed.stdout.count("submission_id='projner-refresh-29384760'") == 1
    assert environment["RAY_AUTH_TOKEN"] not in "".join(tick.stdout + tick.stderr for tick in ticks)

    environment["SUBMISSION_ID"] += "1"
    failed = subprocess.run(
        [*container["command"], script.replace(str(path), "missing.yaml")],
        env={**cluster.environment, **environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert failed.returncode != 0
    assert "missing.yaml: cannot read the job file" in failed.stdout


@pytest.mark.slow
def test_a_job_reads_the_folder_that_it_is_sent_with(
    cluster: Cluster,
    bitext: Callable[..., dict[str, Any]],
    job_file: Callable[..., Path],
    tmp_path: Path,
) -> None:
    job = bitext(root="corpus")
    job_file(job)
    done = cluster.ray(
        *("job", "submit", "--working-dir", ".", "--", "projner", "project", "job.yaml"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check(job)


def test_nobody_gets_in_without_the_token(cluster: Cluster, tmp_path: Path) -> None:
    assert status(cluster.address, "/api/jobs/") == 401
    stranger = {**cluster.environment, "HOME": str(tmp_path), "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(
        [RAY, "job", "submit", "--", "true"], env=stranger, capture_output=True, text=True
    )
    assert done.returncode != 0
