"""Timings taken in turn, and reports of them."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib import metadata
from statistics import median
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa

import projner
from projner.batching import Padding
from projner.report.table import table

STAGE_ROWS = 2048
"""Rows that a job gives a stage at once."""
THEIR_ROWS = 32
"""Rows of a batch elsewhere, in the order in which they come."""
HOW = (
    "Medians over repeats that take turns, and the spread. speed-up: against the last side, the "
    "median of the ratios within each turn. padding: its share of what the model computes."
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measured(Generic[Result]):
    """What one side gave and the seconds it took, once per repeat."""

    results: list[Result] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def rates(self, items: int, unit: str) -> dict[str, float]:
        """Cells of a table row: items a second, the median over repeats and the spread."""
        rates = [items / seconds for seconds in self.seconds]
        return {
            f"{unit}/s": rounded(median(rates)),
            "lowest": rounded(min(rates)),
            "highest": rounded(max(rates)),
        }


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


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times ours theirs is: the median over repeats, each a pair taken in turn."""
    return rounded(median(b / a for a, b in zip(ours, theirs, strict=True)))


def rounded(value: float) -> float:
    """A figure as a person reads it: whole from 100 on."""
    return round(value) if value >= 100 else round(value, 3)


def beside(
    measured: Mapping[str, Measured[Any]],
    items: int,
    unit: str,
    padding: Mapping[str, float],
) -> list[dict[str, Any]]:
    """A table row for each side: items a second, and how much faster it is than the last side.

    `padding` is the share of padding in what each side computes.
    """
    *_, last = measured.values()
    return [
        {
            "side": name,
            **side.rates(items, unit),
            "padding": padding[name],
            "speed-up": ratio(side.seconds, last.seconds),
        }
        for name, side in measured.items()
    ]


def same_share(ours: Sequence[object], theirs: Sequence[object]) -> float:
    """The share of items that are equal on both sides."""
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / max(1, len(ours))


def padding_in_order(*sides: Sequence[int]) -> float:
    """The share of padding when `THEIR_ROWS` sentences at once, as they come, are read.

    Each of `sides` has the lengths of sentences that are read together.
    """
    padding = Padding()
    for lengths in sides:
        for start in range(0, len(lengths), THEIR_ROWS):
            padding.add(np.asarray(lengths[start : start + THEIR_ROWS]))
    return padding.share


def batches(table: pa.Table) -> list[pa.Table]:
    """A table in the parts that a job gives a stage."""
    return [table.slice(start, STAGE_ROWS) for start in range(0, table.num_rows, STAGE_ROWS)]


@dataclass(frozen=True)
class Report:
    """The outcome of a benchmark: a table's rows, how to read it, and what it was made with."""

    title: str
    rows: list[dict[str, Any]]
    """All with the same keys, which are the table's header."""
    same: float
    """The share of items for which both sides found the same."""
    notes: list[str]
    signature: str

    def as_json(self) -> dict[str, Any]:
        return vars(self)

    def as_text(self) -> str:
        cells = [list(row.values()) for row in self.rows]
        notes = "\n".join(f"  {note}" for note in self.notes)
        header = list(self.rows[0])
        return f"{self.title}\n\n{table(header, cells)}\n\n{notes}\n\nsignature {self.signature}"


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing of what libraries print, not even of what they print from C."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            for number in kept:
                os.dup2(nowhere.fileno(), number)
            yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


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

    return str(torch.cuda.get_device_name()).replace(" ", "-")
