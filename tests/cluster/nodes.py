"""A Ray of several nodes on one machine, each a process tree of its own, as a cluster has machines."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

RAY = Path(sys.executable).with_name("ray")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    "RAY_AUTH_MODE": "disabled",
    # That a node is gone shows after a second, not after a quarter of a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "250",
    "RAY_health_check_failure_threshold": "4",
}

JOINED = """
import sys, time, ray
ray.init(sys.argv[1])
while ray.cluster_resources().get("CPU", 0) < float(sys.argv[2]):
    time.sleep(0.1)
"""
"""Ends when a cluster has so many CPUs."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def descendants(pid: int) -> dict[int, str]:
    """The processes that a process started, and those that these did, with their command lines."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, IndexError, ValueError):
                stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                parents[int(entry)] = int(stat[1])
                line = Path(f"/proc/{entry}/cmdline").read_bytes()
                lines[int(entry)] = line.replace(b"\0", b" ").decode(errors="replace")
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: lines.get(child, "") for child in found - {pid}}


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process and all that it started, at once."""
    for pid in [process.pid, *descendants(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@dataclass
class Cluster:
    """A head without CPUs, and workers."""

    cpus: int
    address: str = ""
    head: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    # Short, for sockets go there, whose paths may have 107 bytes.
    folder: str = field(default_factory=lambda: tempfile.mkdtemp(prefix="ray-", dir="/tmp"))

    def start(self, workers: int) -> None:
        """Start the head and so many workers, and wait until they are there.

        Now and then a node ends with an address in use that was free; then all start anew.
        """
        for tries_left in range(5, -1, -1):
            try:
                return self._start(workers)
            except (AssertionError, subprocess.TimeoutExpired):
                if not tries_left:
                    raise
                self.stop()
                shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, workers: int) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        client = ("--ray-client-server-port", str(free_port()))
        self.head = self._node("--head", f"--port={port}", "--num-cpus=0", *client)
        self._wait(lambda: self._answers() and bool(self._sockets()))
        for _ in range(workers):
            self.add()
        subprocess.run(
            [sys.executable, "-c", JOINED, self.address, str(workers * self.cpus)],
            env=ENVIRONMENT,
            check=True,
            timeout=60,
            capture_output=True,
        )

    def add(self) -> None:
        """Start one more worker."""
        before = self._sockets()
        options = (f"--address={self.address}", f"--num-cpus={self.cpus}")
        self.workers.append(self._node(*options))
        self._wait(lambda: bool(self._sockets() - before))

    def _sockets(self) -> set[Path]:
        """The sockets of nodes. One that starts before another has its own would choose the same name."""
        return set(Path(self.folder).glob("session_2*/sockets/plasma_store*"))

    def kill_worker(self, number: int) -> None:
        """Have a worker's machine lose its power."""
        kill_tree(self.workers.pop(number))

    def kill_actor(self, choice: float) -> str | None:
        """Kill one of the processes that hold actors, by `choice` in [0, 1); its title, if any is there."""
        actors = {
            pid: line
            for worker in self.workers
            for pid, line in descendants(worker.pid).items()
            if line.startswith("ray::") and "MapWorker" in line
        }
        if not actors:
            return None
        pid = sorted(actors)[int(choice * len(actors))]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return actors[pid].strip()

    def stop(self) -> None:
        """Kill every node."""
        for node in [*self.workers, *filter(None, [self.head])]:
            kill_tree(node)
        self.workers, self.head = [], None

    def _node(self, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(RAY, "start", "--block", "--disable-usage-stats", *options),
                *(f"--temp-dir={self.folder}",) * ("--head" in options),
                *("--include-dashboard=false",) * ("--head" in options),
                "--node-ip-address=127.0.0.1",
                f"--dashboard-agent-listen-port={free_port()}",
                "--object-store-memory=200000000",
            ],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait(self, done: Callable[[], bool]) -> None:
        for _ in range(600):
            if done():
                return
            time.sleep(0.1)
        raise AssertionError("a node did not start")

    def _answers(self) -> bool:
        host, port = self.address.split(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False


@contextmanager
def cluster(workers: int = 2, cpus: int = 2) -> Iterator[Cluster]:
    """A cluster with so many workers of so many CPUs each."""
    made = Cluster(cpus)
    try:
        made.start(workers)
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.folder, ignore_errors=True)
