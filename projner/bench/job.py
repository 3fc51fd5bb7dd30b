"""A whole projection-only job: through Ray, beside the same stages without it."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

from projner import config, methods, record, stage
from projner.bench import measure, sentences
from projner.bench.measure import Measured, Report
from projner.corpus import index as corpora
from projner.methods import Segment
from projner.runs.run import Run, Wanted
from projner.storage import Place

RAY, ALONE = "through Ray", "without Ray"
WARM_ROWS = 2000
"""Rows of the job that comes first, so that processes are up and code is compiled."""
READS_A_PROCESS = 4
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Done:
    """A finished job: its run's folder, seconds, seconds by step, and peak memory in bytes."""

    run: Place
    seconds: float
    peak: int = 0
    steps: dict[str, float] = field(default_factory=dict)


def bench(
    rows: int = 10_000, repeats: int = 3, cpus: int | None = None, method: str = "default"
) -> Report:
    """Project the demo's sentence pairs, as often as need be, with their labels and links.

    Args:
        rows: how many sentence pairs.
        repeats: how often each side projects them.
        cpus: CPUs for Ray, and processes of the other side; as many as there are by default.
        method: a name from `methods.NAMED`.

    Raises:
        JobError: there is no such method.
    """
    cpus = cpus or os.cpu_count() or 1
    project = methods.named(method)
    measured: dict[str, Measured[Done]] = {RAY: Measured(), ALONE: Measured()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = [_job(folder / f"corpus-{count}", count, project) for count in (WARM_ROWS, rows)]
        for turn, (side, run) in itertools.product(
            range(repeats), ((RAY, _through_ray), (ALONE, _without_ray))
        ):
            done = _in_a_process(run, jobs, folder / f"{side}-{turn}", cpus)
            measured[side].results.append(done)
            measured[side].seconds.append(done.seconds)
        same = _same(*(side.results[0].run for side in measured.values()))
    alone = measured[ALONE]
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in alone.results[0].steps.items())
    return Report(
        f"projecting {rows:,} sentence pairs on {cpus} CPUs",
        [
            {
                "side": name,
                **side.rates(rows, "sentences"),
                "peak MB": round(max(done.peak for done in side.results) / 1e6),
                "wall": measure.ratio(alone.seconds, side.seconds),
            }
            for name, side in measured.items()
        ],
        float(same),
        [
            "Both sides wrote the same labels." if same else "THE TWO SIDES WROTE OTHER LABELS.",
            "wall: times the seconds of the other way. Index, reading, stages, writing and "
            f"publishing are in them; starting Ray or the {cpus} processes is not.",
            f"without Ray, seconds over all processes, first turn: {steps}.",
            "peak MB: of the whole process tree; memory that its processes share counts once.",
            f"The corpus is the demo's {len(_blocks('train.eng.conll'))} pairs again and again, each "
            "with a number at its end, so that no two are the same.",
        ],
        measure.signature(
            ["ray", "pyarrow", "numba"], rows=rows, cpus=cpus, method=method, repeats=repeats
        ),
    )


def _job(folder: Path, rows: int, project: config.Project) -> config.Job:
    """A job on `rows` pairs: the demo's again and again, each with a number of its own at its end."""
    source = _blocks("train.eng.conll")
    target = [
        " ".join(line.split(" ")[0] for line in block.split("\n"))
        for block in _blocks("train.swh.conll")
    ]
    links = (sentences.CORPUS / "train.eng-swh.pharaoh").read_text(encoding="utf-8").splitlines()
    folder.mkdir()
    for name, items, end in (
        ("source", source, "\n{} O\n\n"),
        ("target", target, " {}\n"),
        ("links", links, "\n"),
    ):
        with (folder / name).open("w", encoding="utf-8") as file:
            numbered = enumerate(itertools.islice(itertools.cycle(items), rows))
            file.writelines(item + end.format(number) for number, item in numbered)
    corpus = config.Corpus(
        format="bitext",
        root=str(folder),
        source=("source",),
        target=("target",),
        links=("links",),
        source_lang="eng_Latn",
        target_lang=("swh_Latn",),
    )
    return config.Job(corpus=corpus, project=project)


def _blocks(name: str) -> list[str]:
    return (sentences.CORPUS / name).read_text(encoding="utf-8").strip("\n").split("\n\n")


def _same(one: Place, other: Place) -> bool:
    """Whether two runs gave the same labels to the same rows."""
    tables = []
    for run in (Run(one), Run(other)):
        snapshot = run.latest()
        assert snapshot is not None
        tables.append(run.read(snapshot, ["status", "ner_tags"]))
    return bool(tables[0].equals(tables[1]))


def _in_a_process(run: Callable[..., Done], *given: object) -> Done:
    """`run(*given)` in a process of its own, so that nothing of one side is left for the other."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        done = pool.submit(run, *given)
        peak = 0
        while not done.done():
            wait([done], SAMPLE_SECONDS)
            peak = max(peak, _memory())
        return replace(done.result(), peak=peak)


def _through_ray(jobs: list[config.Job], output: Path, cpus: int) -> Done:
    """Run jobs one after the other; the last one is measured."""
    import ray

    from projner import pipeline

    ray.init(
        "local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    with pipeline.session():
        for number, job in enumerate(jobs):
            job = job.model_copy(update={"output": str(output / str(number))})
            began = time.perf_counter()
            result = pipeline.project(job)
            seconds = time.perf_counter() - began
    ray.shutdown()
    return Done(result.run.folder, seconds)


def _without_ray(jobs: list[config.Job], output: Path, cpus: int) -> Done:
    """The same with a pool of processes."""
    with ProcessPoolExecutor(cpus, multiprocessing.get_context("spawn")) as pool:
        for number, job in enumerate(jobs):
            began = time.perf_counter()
            run, steps = _project(job, output / str(number), pool, cpus)
            seconds = time.perf_counter() - began
    return Done(run.folder, seconds, steps=steps)


def _project(
    job: config.Job, output: Path, pool: Executor, cpus: int
) -> tuple[Run, dict[str, float]]:
    """A job's run, and seconds by step."""
    steps: dict[str, float] = defaultdict(float)
    began = time.perf_counter()
    index = corpora.index(job.corpus)
    steps["index"] = time.perf_counter() - began
    (segment,) = methods.chain(job, index.columns, index.partial)
    run = Run(output / "runs" / segment.fingerprint)
    run.begin(segment.settings)
    rows = min(job.resources.shard_rows, -(-len(index.ids) // (cpus * READS_A_PROCESS)))
    chunks = corpora.packed(index.chunks, rows)
    ids = [index.ids[chunk.first : chunk.first + chunk.rows] for chunk in chunks]
    for seconds in pool.map(partial(_shard, job.corpus, segment, run), chunks, ids):
        for step, spent in seconds.items():
            steps[step] += spent
    began = time.perf_counter()
    wanted = Wanted(index.ids, index.revisions)
    run.publish(wanted, index.origins(), signature=segment.signature)
    steps["publish"] = time.perf_counter() - began
    return run, dict(steps)


def _shard(
    corpus: config.Corpus, segment: Segment, run: Run, chunk: corpora.Chunk, ids: np.ndarray
) -> dict[str, float]:
    """Read, project and write a chunk; the seconds of each step."""
    steps = {}
    began = time.perf_counter()
    table = corpora.read(corpus, chunk, ids)
    steps["read"] = time.perf_counter() - began
    for step in segment.stages:
        began = time.perf_counter()
        table = stage.run(step, table)
        steps[step.name] = time.perf_counter() - began
    began = time.perf_counter()
    columns = [name for name in record.COLUMNS if name in table.column_names]
    run.write_shard(table.select(columns).cast(record.schema(columns)))
    steps["write"] = time.perf_counter() - began
    return steps


def _memory() -> int:
    """Bytes that the children of this process have: each alone, and the most that one shares."""
    import_module("ray")  # It brings psutil along.
    psutil = import_module("psutil")
    private = shared = 0
    for process in psutil.Process().children(recursive=True):
        try:
            memory = process.memory_info()
        except psutil.Error:
            continue
        of_it = getattr(memory, "shared", 0)
        private += memory.rss - of_it
        shared = max(shared, of_it)
    return private + shared
