"""What a sentence costs: the stages of a job run on a sample in this process, without Ray."""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from projner import config, devices, methods, pipeline, record, stage
from projner.bench import measure
from projner.corpus import index as corpora
from projner.errors import JobError
from projner.plan.sizes import Measured, Step
from projner.runs.run import Run, Wanted
from projner.stage import Stage

LEAST_ROWS = 20
"""Rows of a sample, at least."""
WARM_SHARE = 4
"""One in so many rows of the sample, not timed, comes first: code is compiled, caches fill."""
LEDGER_ROWS = 200_000
LEDGER_SHARD = 10_000
"""Made-up rows by which the driver's memory is measured, and rows of their shards: more of these than are
read at once."""


def sample(job: config.Job, rows: int) -> Measured:
    """Run every stage of a job on the first `rows` sentences of its corpus, one actor each.

    Whatever of the machine an actor would have is used: one GPU where there is one and the job lets
    the models have it, else one CPU (or `resources.ROOM.cpus`).

    Raises JobError for what is wrong with the job, and for too small a corpus.
    """
    limit = min(rows, job.corpus.limit or rows)
    corpus = job.corpus.model_copy(update={"limit": limit})
    job = pipeline.without_gpus(job.model_copy(update={"corpus": corpus}))
    # Once to warm up.
    corpora.index(corpus)
    began = time.perf_counter()
    index = corpora.index(corpus)
    seconds = time.perf_counter() - began
    count = len(index.ids)
    if count < LEAST_ROWS:
        raise JobError(
            f"a sample of {count} rows tells nothing; give a corpus, and --sample, of "
            f"{LEAST_ROWS} or more"
        )
    segments = methods.chain(job, index.columns, index.partial)
    steps = [Step(segments[0].name, "index", seconds / count, serial=True)]
    table, seconds = _read(corpus, index)
    steps.append(Step(segments[0].name, "read", seconds))
    stored: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="projner-plan-") as name:
        for segment in segments:
            folder = Path(name) / segment.fingerprint
            for step in segment.stages:
                table, found = _stage(job, segment.name, step, table, folder)
                steps += found
            run = Run(folder)
            run.begin(segment.settings)
            columns = [column for column in record.COLUMNS if column in table.column_names]
            shard = table.select(columns).cast(record.schema(columns))
            run.write_shard(shard)
            began = time.perf_counter()
            shard_name = run.write_shard(shard)
            steps.append(Step(segment.name, "write", (time.perf_counter() - began) / count))
            stored[segment.name] = (folder / "data" / shard_name).stat().st_size / count
            began = time.perf_counter()
            table = run.hand_on([(shard_name, np.asarray(shard["id"]))])
            if segment is not segments[-1]:
                following = segments[segments.index(segment) + 1].name
                steps.append(Step(following, "read", (time.perf_counter() - began) / count))
        memory, seconds = _ledger(Path(name) / "ledger")
    steps += [Step(segment.name, "publish", seconds, serial=True) for segment in segments]
    in_order = [step for segment in segments for step in steps if step.run == segment.name]
    gpu = any(step.gpus for step in steps)
    return Measured(
        rows=count,
        languages=len(job.corpus.target_lang) if "target_tokens" not in index.columns else 1,
        steps=tuple(in_order),
        stored=stored,
        memory=memory,
        signature="|".join(
            [
                measure.signature(["ray", "pyarrow"], "cuda" if gpu else "cpu", sample=count),
                segments[-1].signature,
            ]
        ),
    )


def _read(corpus: config.Corpus, index: corpora.Index) -> tuple[pa.Table, float]:
    """The rows of an index, and the seconds that one takes to be read."""

    def tables() -> Iterator[pa.Table]:
        for chunk in index.chunks:
            yield corpora.read(corpus, chunk, index.ids[chunk.first : chunk.first + chunk.rows])

    list(tables())
    began = time.perf_counter()
    read = list(tables())
    seconds = time.perf_counter() - began
    table = pa.concat_tables(read).combine_chunks()
    return table, seconds / table.num_rows


def _stage(
    job: config.Job, run: str, step: Stage, table: pa.Table, folder: Path
) -> tuple[pa.Table, list[Step]]:
    """A stage's rows, and what it took for one."""
    print(f"projner: measuring {step.name} on {table.num_rows:,} rows", file=sys.stderr)
    steps = []
    # As Ray does, so that a model is let go when it is done.
    step = pickle.loads(pickle.dumps(step))
    if step.learns:
        place = folder / "steps" / step.name
        place.mkdir(parents=True)
        step.fetch()
        began = time.perf_counter()
        step.learn([table], place)
        seconds = (time.perf_counter() - began) / table.num_rows
        most = max(
            (each.sample for each in job.align if isinstance(each, config.Eflomal)), default=None
        )
        steps.append(Step(run, f"{step.name} learns", seconds, serial=True, rows=most))
        step = step.recall(place)
    setup, gpus, cpus = 0.0, 0.0, 1.0
    if step.room:
        pool: config.Pool = getattr(job.resources, step.room)
        gpus = float(_on_gpu(job, step.room))
        cpus = pool.cpus or 1.0
        step.fetch()
        began = time.perf_counter()
        step.setup(cpus)
        setup = time.perf_counter() - began
    warm = max(1, table.num_rows // WARM_SHARE)
    size = job.resources.batch_rows if step.room else job.resources.shard_rows
    parts = [stage.run(step, table.slice(0, warm))]
    began = time.perf_counter()
    for start in range(warm, table.num_rows, size):
        parts.append(stage.run(step, table.slice(start, size)))
    seconds = (time.perf_counter() - began) / (table.num_rows - warm)
    steps.append(Step(run, step.name, seconds, step.room, gpus, cpus, setup=setup))
    if step.room:
        del step
        devices.free_cached_memory()
    return pa.concat_tables(parts).combine_chunks(), steps


def _on_gpu(job: config.Job, room: str) -> bool:
    """Whether the models of a room run on a GPU of this machine."""
    sections: dict[str, list[Any]] = {
        "translate": [job.translate, job.translate_marked],
        "label": [job.label, job.label_target],
        "align": list(job.align),
    }
    asked = {getattr(section, "device", "cpu") for section in sections[room] if section}
    return bool(asked & {"auto", "cuda"}) and devices.choose_device("auto") == "cuda"


def _ledger(folder: Path) -> tuple[float, float]:
    """Bytes of the driver's memory, at its peak, and seconds for one more row of a run."""
    run = Run(folder)
    run.begin({})
    sizes = LEDGER_ROWS // 2, LEDGER_ROWS
    ids = np.random.default_rng(0).permutation(LEDGER_ROWS).astype(np.int64)
    measured, written = [], 0
    for size in sizes:
        for start in range(written, size, LEDGER_SHARD):
            run.write_shard(_made_up(ids[start : start + LEDGER_SHARD]))
        written = size
        measured.append(_published(run, ids[:size]))
    few, many = measured
    more = sizes[1] - sizes[0]
    # What does not grow with the rows, such as shards that are read at once, is no row's.
    return max(1.0, (many[0] - few[0]) / more), max(0.0, (many[1] - few[1]) / more)


def _made_up(ids: np.ndarray) -> pa.Table:
    columns = {
        "id": pa.array(ids),
        "revision": pa.array(ids),
        "target_entities": pa.nulls(len(ids), record.type_of("target_entities")),
        "abstained": pa.nulls(len(ids), record.type_of("abstained")),
        "status": pa.repeat("ok", len(ids)),
        "status_detail": pa.nulls(len(ids), pa.string()),
    }
    return pa.table(columns, schema=record.schema(list(columns)))


def _published(run: Run, ids: np.ndarray) -> tuple[int, float]:
    """The peak in bytes, and the seconds, of finding the rows of a run and publishing them."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        began = time.perf_counter()
        wanted = Wanted(ids.copy(), ids.copy())
        run.locate(wanted)
        origins = {"file": np.zeros(len(ids), np.int64), "position": np.arange(len(ids))}
        run.publish(wanted, pa.table(origins), signature="")
        seconds = time.perf_counter() - began
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    return peak + (pool.max_memory() or 0), seconds
