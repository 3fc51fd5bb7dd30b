"""Timings taken in turn, and reports of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from statistics import median
from typing import Any, Generic, TypeVar

import projner
from projner.report.table import table

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measured(Generic[Result]):
    """What one side gave and the seconds it took, once per repeat."""

    results: list[Result] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def rate(self, items: int) -> dict[str, float]:
        """Items a second: the median over repeats, the lowest and the highest."""
        rates = [items / seconds for seconds in self.seconds]
        return {"median": median(rates), "lowest": min(rates), "highest": max(rates)}


def in_turn(sides: Mapping[str, Callable[[], Result]], repeats: int) -> dict[str, Measured[Result]]:
    """Run every side `repeats` times, A B A B, so that what slows the machine down slows both.

    Sides should be warm: whatever is loaded or compiled once is none of it.
    """
    measured: dict[str, Measured[Result]] = {name: Measured() for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            began = time.perf_counter()
            measured[name].results.append(run())
            measured[name].seconds.append(time.perf_counter() - began)
    return measured


def speed_up(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times as long theirs takes: the median over repeats, each a pair taken in turn."""
    return median(slow / quick for quick, slow in zip(ours, theirs, strict=True))


def same_share(ours: Sequence[object], theirs: Sequence[object]) -> float:
    """The share of items that are equal on both sides."""
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / max(1, len(ours))


@dataclass(frozen=True)
class Report:
    """The outcome of a benchmark: a table's rows, how to read it, and what it was made with."""

    title: str
    rows: list[dict[str, Any]]
    """All with the same keys, which are the table's header."""
    notes: list[str]
    signature: str

    def as_json(self) -> dict[str, Any]:
        return vars(self)

    def as_text(self) -> str:
        cells = [list(row.values()) for row in self.rows]
        notes = "\n".join(f"  {note}" for note in self.notes)
        return f"{self.title}\n\n{table(list(self.rows[0]), cells)}\n\n{notes}\n\n{self._signed}"

    @property
    def _signed(self) -> str:
        return f"signature {self.signature}"


def signature(packages: Sequence[str], device: str = "cpu", **settings: object) -> str:
    """One line: versions, the machine and how busy it was, and the benchmark's settings."""
    parts = {
        "projner": projner.__version__,
        **{name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "machine": f"{platform.system()}-{platform.machine()}-{os.cpu_count()}cpus",
        "device": _gpu() if device.startswith("cuda") else device,
        **settings,
        # Where a system tells it.
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else None,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items() if value is not None)


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name().replace(" ", "-")
