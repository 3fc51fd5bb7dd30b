"""A driver to be killed: runs a job as `projner project` does, with slow actors that say what they do.

`python driver.py JOB.yaml NOTES NAME [POINT]`. Every row that an actor is given is noted in the file
NOTES under NAME. At POINT, if given, the driver kills itself.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from projner import cli, methods, record
from projner.runs import lease
from projner.runs.run import Run
from projner.stage import Stage
from projner.storage import Local

SECONDS = 0.2


class Slow(Stage):
    """Links the words that stand at the same place, and takes its time."""

    name: ClassVar[str] = "slow"
    room: ClassVar[str | None] = "align"
    inputs = ("source_tokens", "target_tokens")
    outputs = ("links",)

    def __init__(self, notes: str, driver: str):
        self.notes = notes
        self.driver = driver

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        time.sleep(SECONDS)
        lines = "".join(f"{self.driver} {id_}\n" for id_ in table["id"].to_pylist())
        with open(self.notes, "ab", buffering=0) as file:
            file.write(lines.encode())
        links = [
            [{"source": n, "target": n, "score": 1 / (n + 3)} for n in range(min(map(len, pair)))]
            for pair in zip(*(table[name].to_pylist() for name in self.inputs), strict=True)
        ]
        return record.with_column(table, "links", links)


def die(*_: object, **__: object) -> None:
    """What a power cut does to a driver."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def dies_at(point: str) -> None:
    """Have this process die at a point of its way."""
    write, create = Local.write, Local.create

    def after_index(place: Local, content: Any) -> None:
        write(place, content)
        if place.parent.name == "index":
            die()

    def after_snapshot(place: Local, content: bytes) -> bool:
        created = create(place, content)
        if place.parent.name == "snapshots":
            die()
        return created

    if point == "all shards written":
        Run.publish = die  # type: ignore[method-assign, assignment]
    elif point == "index written":
        Local.write = after_index  # type: ignore[method-assign]
    elif point == "snapshot created":
        Local.create = after_snapshot  # type: ignore[method-assign]
    elif point == "half a lease renewed":
        os.replace = die
    else:
        raise ValueError(point)


def main(job: str, notes: str, driver: str, *points: str) -> int:
    """Run the job."""
    methods.preparation = lambda *_: [Slow(notes, driver)]
    for point in points:
        dies_at(point)
    lease.SECONDS_TO_LIVE = 4.0
    return cli.main(["project", job])


if __name__ == "__main__":
    Path(sys.argv[2]).touch()
    sys.exit(main(*sys.argv[1:]))
