"""From what a sentence costs to machines, hours and bytes. Arithmetic alone."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from projner.errors import JobError

MOST_NODES = 100_000
ALONE_SHARE = 0.1
"""What the driver does alone, such as reading a corpus for the first time, may take this share of the time
in which the nodes work; where it would take more, a job should be several that run side by side."""


@dataclass(frozen=True)
class Step:
    """One step of a run, as measured."""

    run: str
    """The name of the run's segment."""
    name: str
    seconds: float
    """Of one actor or task for one row."""
    room: str | None = None
    """The key of `resources` that sizes its pool of actors; None for what runs in tasks."""
    gpus: float = 0
    """GPUs of one actor."""
    cpus: float = 1
    """CPUs of one actor or task."""
    serial: bool = False
    """Whether the driver does it alone, before or after the stream."""
    rows: int | None = None
    """Rows that it sees, at most; all by default."""
    setup: float = 0
    """Seconds that an actor takes to load its model."""

    @property
    def rate(self) -> float:
        """Rows a second."""
        return 1 / self.seconds if self.seconds else math.inf


@dataclass(frozen=True)
class Measured:
    """What the rows of a sample cost."""

    rows: int
    languages: int
    """Rows for each sentence of the corpus."""
    steps: tuple[Step, ...]
    """In the order in which they run."""
    stored: dict[str, float]
    """Bytes of a row in Parquet, by run."""
    memory: float
    """Bytes of a row in the driver's memory, at its peak."""
    signature: str


@dataclass(frozen=True)
class Nodes:
    """Machines of one kind."""

    count: int
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Part:
    """A step in a plan."""

    step: Step
    actors: float
    """Actors, or tasks at once; a fraction where several steps take turns."""
    hours: float
    """What one actor alone would take."""
    busy: float
    """The share of the run's time in which its actors have something to do."""


@dataclass(frozen=True)
class RunPlan:
    """One run of a job's chain."""

    name: str
    hours: float
    bound: str
    """What makes it no faster: a step's name."""
    parts: tuple[Part, ...]
    gpu_hours: float
    cpu_hours: float
    stored: float
    """Bytes."""

    @property
    def alone(self) -> float:
        """Hours in which one process works alone."""
        return sum(part.hours for part in self.parts if part.step.serial)


@dataclass(frozen=True)
class Plan:
    """What a job takes on some nodes. Hours are held, idle or not."""

    sentences: int
    rows: int
    nodes: Nodes
    runs: tuple[RunPlan, ...]
    memory: float
    """Bytes that each job's driver needs for its rows' ids."""
    split: int
    """Sentences from which on a job should be several."""
    jobs: int
    """How many jobs, side by side."""
    measured: Measured
    actors: dict[str, int] = field(default_factory=dict)
    """Actors of each pool, by the key of `resources`."""

    @property
    def hours(self) -> float:
        return sum(run.hours for run in self.runs)

    @property
    def gpu_hours(self) -> float:
        return sum(run.gpu_hours for run in self.runs)

    @property
    def cpu_hours(self) -> float:
        return sum(run.cpu_hours for run in self.runs)

    @property
    def stored(self) -> float:
        return sum(run.stored for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        return {
            "sentences": self.sentences,
            "rows": self.rows,
            "nodes": vars(self.nodes),
            "hours": self.hours,
            "gpu_hours": self.gpu_hours,
            "cpu_hours": self.cpu_hours,
            "stored_bytes": self.stored,
            "driver_bytes": self.memory,
            "split_at_sentences": self.split,
            "jobs": self.jobs,
            "actors": self.actors,
            "runs": [
                {
                    "name": run.name,
                    "hours": run.hours,
                    "bound_by": run.bound,
                    "gpu_hours": run.gpu_hours,
                    "cpu_hours": run.cpu_hours,
                    "stored_bytes": run.stored,
                    "steps": [
                        {
                            "name": part.step.name,
                            "rows_per_second": part.step.rate,
                            "gpus": part.step.gpus,
                            "cpus": part.step.cpus,
                            "load_seconds": part.step.setup,
                            "actors": part.actors,
                            "actor_hours": part.hours,
                            "busy": part.busy,
                        }
                        for part in run.parts
                    ],
                }
                for run in self.runs
            ],
            "sample_rows": self.measured.rows,
            "signature": self.measured.signature,
        }


def balance(seconds: Sequence[float], actors: int) -> list[int]:
    """How many of `actors` each stage of a pipeline gets, at least one, so that its slowest stage is as
    fast as can be.

    `seconds` are those of one actor for one row. `actors` is at least the number of stages.
    """
    given = [1] * len(seconds)
    spare, whole = actors - len(seconds), math.fsum(seconds)
    if spare and whole:
        # So many never exceed `actors`, and giving one after the other would come by here.
        bound = whole / spare * (1 + 1e-12)
        given = [max(1, math.ceil(spent / bound)) for spent in seconds]
    slowest = [(-spent / given[number], number) for number, spent in enumerate(seconds)]
    heapq.heapify(slowest)
    for _ in range(actors - sum(given)):
        _, number = heapq.heappop(slowest)
        given[number] += 1
        heapq.heappush(slowest, (-seconds[number] / given[number], number))
    return given


def _shared(seconds: Sequence[float], units: float) -> list[float]:
    """Actors for each stage out of `units` CPUs or GPUs; fractions of one where there are too few."""
    if seconds and units >= len(seconds):
        return [float(count) for count in balance(seconds, int(units))]
    whole = sum(seconds)
    return [units * spent / whole if whole else units / len(seconds) for spent in seconds]


def plan_run(
    name: str, steps: Sequence[Step], rows: int, stored: float, nodes: Nodes, jobs: int = 1
) -> RunPlan:
    """A run of `steps` over `rows` rows, with the nodes' CPUs and GPUs shared out for balance.

    `jobs` of the same size share the rows and the nodes. Raises JobError when the nodes lack what the
    steps need.
    """
    gpus = nodes.count * nodes.gpus
    actors, per_row, bound = _share_out(steps, gpus, nodes.count * nodes.cpus)
    streamed = rows * per_row
    alone = {step: _alone(step, rows / jobs) for step in steps if step.serial}
    if alone and max(alone.values()) > streamed:
        bound = max(alone, key=lambda step: alone[step]).name
    hours = (streamed + sum(alone.values())) / 3600
    parts = []
    for step in steps:
        spent = alone.get(step, rows * step.seconds) / 3600
        count = actors.get(step, 1.0)
        parts.append(Part(step, count, spent, spent / count / hours if hours and count else 0.0))
    return RunPlan(
        name,
        hours,
        bound,
        tuple(parts),
        gpu_hours=gpus * hours if any(step.gpus for step in steps) else 0.0,
        cpu_hours=nodes.count * nodes.cpus * hours,
        stored=rows * stored,
    )


def _share_out(
    steps: Sequence[Step], gpus: int, cpus: float
) -> tuple[dict[Step, float], float, str]:
    """Actors of each step that streams, the seconds of one row, and the step that these are due to."""
    on_gpu = [step for step in steps if step.gpus]
    pools = [step for step in steps if step.room and not step.gpus]
    tasks = [step for step in steps if not step.room and not step.serial]
    if on_gpu and not gpus:
        raise JobError(
            f"{', '.join(step.name for step in on_gpu)} ran on a GPU; give --gpus-per-node 1 or more"
        )
    actors = dict(zip(on_gpu, _shared([step.seconds for step in on_gpu], gpus), strict=True))
    cpus -= sum(max(1.0, count) * step.cpus for step, count in actors.items())
    if cpus <= 0:
        raise JobError(
            "the actors on GPUs leave no CPU for anything else; give more --cpus-per-node"
        )
    # Tasks of all kinds take turns on the same CPUs.
    together = sum(step.seconds for step in tasks)
    *counts, turns = _shared([*(step.seconds for step in pools), together], cpus)
    actors |= dict(zip(pools, counts, strict=True))
    slowest = max(
        [(step.seconds / count, step.name) for step, count in actors.items() if count]
        + [(together / turns if turns else 0.0, "tasks")]
    )
    actors |= {step: turns * step.seconds / together if together else turns for step in tasks}
    return actors, *slowest


def _alone(step: Step, rows: float) -> float:
    """Seconds that a driver takes for a step that it does alone."""
    return min(rows, step.rows or rows) * step.seconds


def plan(
    measured: Measured, sentences: int, nodes: Nodes, memory: float, hours: float | None = None
) -> Plan:
    """What `sentences` sentences take on `nodes`, with `memory` bytes for a driver's ids.

    In `hours`, where given, they should end; it decides how many jobs they should be.
    """
    rows = sentences * measured.languages
    names = list(dict.fromkeys(step.run for step in measured.steps))
    steps_of = {name: [step for step in measured.steps if step.run == name] for name in names}
    stream = sum(
        rows * _share_out(steps, nodes.count * nodes.gpus, nodes.count * nodes.cpus)[1]
        for steps in steps_of.values()
    )
    allowed = ALONE_SHARE * (3600 * hours if hours else stream)
    # What grows with the corpus; what is learnt from a sample does not.
    each = sum(step.seconds for step in measured.steps if step.serial and step.rows is None)
    most = min(memory / measured.memory, allowed / each if each else math.inf)
    jobs = max(1, math.ceil(rows / most))
    runs = tuple(
        plan_run(name, steps, rows, measured.stored.get(name, 0.0), nodes, jobs)
        for name, steps in steps_of.items()
    )
    actors: dict[str, int] = {}
    for run in runs:
        for part in run.parts:
            if part.step.room is not None:
                count = max(1, int(part.actors / jobs))
                actors[part.step.room] = max(actors.get(part.step.room, 1), count)
    split = max(1, int(most / measured.languages))
    used = rows / jobs * measured.memory
    return Plan(sentences, rows, nodes, runs, used, split, jobs, measured, actors)


def within(measured: Measured, sentences: int, hours: float, shape: Nodes, memory: float) -> Plan:
    """The plan with the fewest nodes of a shape that ends within `hours`.

    Raises JobError when no number of nodes does.
    """

    def on(count: int) -> Plan:
        return plan(measured, sentences, Nodes(count, shape.cpus, shape.gpus), memory, hours)

    most = 1
    while not _ends(on, most, hours):
        most *= 2
        if most > MOST_NODES:
            alone = sum(run.alone for run in on(MOST_NODES).runs)
            raise JobError(
                f"--hours {hours:g}: what one process does alone takes {alone:.1f} hours; make several "
                "jobs of the corpus, or give more hours"
            )
    least = most // 2 + 1
    while least < most:
        middle = (least + most) // 2
        if _ends(on, middle, hours):
            most = middle
        else:
            least = middle + 1
    return on(most)


def _ends(on: Callable[[int], Plan], count: int, hours: float) -> bool:
    """Whether a job ends within `hours` on that many nodes. It does not where its actors do not fit."""
    try:
        return on(count).hours <= hours
    except JobError:
        return False
