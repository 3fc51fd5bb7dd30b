"""From a job file to finished runs: the Ray Data plan.

A job is a chain of runs. Each reads the corpus or its parent's snapshot, streams it through some
stages, and publishes a snapshot of its own; the last one is the result. Stages that hold a model live
in pools of actors; the others, and the writing of shards, are tasks.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from projner import config, methods, metrics, placement, record
from projner.corpus import index as corpora
from projner.errors import JobError
from projner.methods import Segment
from projner.placement import Placement
from projner.runs import lease
from projner.runs.run import Run, Snapshot
from projner.stage import Stage

log = logging.getLogger(__name__)

BLOCKS_PER_WORKER = 4
"""Blocks that each actor of a pool, or each CPU, should get, so that none idles while another has two
left."""
LEAST_ROWS = 100
"""Rows of a block in a corpus too small to be worth sharing out."""


@dataclass(frozen=True)
class Read:
    """A call that gives a table of `rows` rows."""

    call: Callable[[], pa.Table]
    rows: int


@dataclass(frozen=True)
class Result:
    """What a finished job left: the last run of its chain, and how long everything took."""

    run: Run
    snapshot: Snapshot
    computed: int
    """Rows that this call computed, over all runs; 0 when everything was there already."""
    seconds: dict[str, float]
    """What this call took for each run, by the name of its segment."""
    stages: dict[str, float]
    """Seconds that each stage took for all rows there are, over all actors, whenever that was."""


@contextmanager
def session() -> Iterator[None]:
    """A Ray to work on: the one already joined, the cluster of RAY_ADDRESS, or a local one.

    Raises JobError when there is no cluster at that address.
    """
    started = not ray.is_initialized()
    if started:
        _join(os.environ.get("RAY_ADDRESS"))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # What goes wrong is raised.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _join(address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        # Ray left to itself would join whatever was last started on this machine.
        ray.init("local", include_dashboard=False, **quiet)
        return
    try:
        ray.init(address, **quiet)
    except (ConnectionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise JobError(
            f"RAY_ADDRESS={address}: cannot join a cluster there ({reason}); mend it, or unset it "
            "to work on this machine alone"
        ) from None


def project(job: config.Job) -> Result:
    """Run a whole job.

    Raises JobError for what the user can mend, before anything is written.
    """
    if not job.output:
        raise JobError("the job has no `output`; add one, or give --output DIR")
    index = corpora.index(job.corpus, _chunk_rows(job))
    seconds: dict[str, float] = {}
    stages: dict[str, float] = {}
    computed = 0
    parent: tuple[Run, Snapshot] | None = None
    with ExitStack() as joined, _explained():
        for segment in _chain(job, index, joined):
            began = time.perf_counter()
            run = Run(Path(job.output).absolute() / "runs" / segment.fingerprint)
            todo = _missing(run, index)
            snapshot = None if todo.any() else run.latest()
            if snapshot is None or not np.array_equal(run.ids(snapshot), index.ids):
                run.begin(segment.settings)
                with lease.hold(run.folder):
                    # Again, for another job may have written here until now.
                    todo = _missing(run, index)
                    if todo.any():
                        joined.enter_context(session())
                        _compute(job, segment, run, index, todo, parent)
                    origins = index.origins()
                    before = parent[0].fingerprint if parent else None
                    snapshot = run.publish(index.ids, origins, before, segment.signature)
            computed += int(todo.sum())
            parent = run, snapshot
            seconds[segment.name] = time.perf_counter() - began
            for name, spent in snapshot.seconds.items():
                stages[name] = stages.get(name, 0.0) + spent
    assert parent is not None
    return Result(*parent, computed, seconds, stages)


def _missing(run: Run, index: corpora.Index) -> np.ndarray:
    """Rows (bool, one per row of `index`) that no whole shard of the run has."""
    return ~np.isin(index.ids, run.done())


def _chunk_rows(job: config.Job) -> int:
    """Rows that are read together: never more than belong into a shard, or a model's batch."""
    sizes = [corpora.CHUNK_ROWS, job.resources.shard_rows]
    if job.translate or job.label or job.label_target or job.align:
        sizes.append(job.resources.batch_rows)
    return min(sizes)


def _chain(job: config.Job, index: corpora.Index, joined: ExitStack) -> list[Segment]:
    """The job's segments, settled where models will run: what `auto` means depends on the machine."""
    job = _without_gpus(job)
    sections = [job.translate, job.label, job.label_target, *job.align]
    devices = {getattr(section, "device", None) for section in sections}
    if devices <= {None}:
        return methods.chain(job, index.columns, index.partial)
    joined.enter_context(session())
    gpus = min(1, ray.cluster_resources().get("GPU", 0)) if devices & {"auto", "cuda"} else 0
    chain = ray.remote(num_cpus=0, num_gpus=gpus)(methods.chain)
    segments: list[Segment] = ray.get(chain.remote(job, index.columns, index.partial))
    return segments


def _without_gpus(job: config.Job) -> config.Job:
    """The job with `device: cpu` where the actors of a room are to have no GPU."""

    def settled(section: Any, pool: config.Pool) -> Any:
        if pool.gpus == 0 and getattr(section, "device", None) == "auto":
            return section.model_copy(update={"device": "cpu"})
        return section

    pools = job.resources
    return job.model_copy(
        update={
            "translate": settled(job.translate, pools.translate),
            "label": settled(job.label, pools.label),
            "label_target": settled(job.label_target, pools.label),
            "align": tuple(settled(each, pools.align) for each in job.align),
        }
    )


def _compute(
    job: config.Job,
    segment: Segment,
    run: Run,
    index: corpora.Index,
    todo: np.ndarray,
    parent: tuple[Run, Snapshot] | None,
) -> None:
    """Write the rows of `index` that are `todo` into whole shards of the run."""
    pools = {step.room: getattr(job.resources, step.room) for step in segment.stages if step.room}
    cluster = ray.cluster_resources()
    placed = placement.place(pools, cluster.get("CPU", 0), cluster.get("GPU", 0)) if pools else {}
    workers, most = cluster.get("CPU", 1), job.resources.shard_rows
    if placed:
        workers, most = max(each.largest for each in placed.values()), job.resources.batch_rows
    rows = min(most, max(LEAST_ROWS, int(todo.sum() / (workers * BLOCKS_PER_WORKER))))

    def reads(wanted: np.ndarray) -> list[Read]:
        if parent:
            return _reads_of_run(*parent, index.ids[wanted], rows)
        return _reads_of_corpus(job.corpus, index, wanted, rows)

    everything = partial(reads, np.ones(len(todo), bool))
    stages = [_taught(step, run.folder / "steps", everything) for step in segment.stages]
    _fetch([step for step in stages if step.room])
    _stream(run, stages, reads(todo), placed)


def _taught(step: Stage, folder: Path, reads: Callable[[], list[Read]]) -> Stage:
    """The stage with what it learns from the corpus, learnt once in a run's life."""
    if not step.learns:
        return step
    place = folder / step.name
    if not place.exists():
        part = folder / f".{step.name}.{uuid.uuid4().hex}"
        part.mkdir()
        try:
            step.learn((read.call() for read in reads()), part)
            part.rename(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return step.recall(place)


def _fetch(stages: Sequence[Stage]) -> None:
    """Have every node fetch the weights once, before its actors all load them."""
    if not stages:
        return
    fetch = ray.remote(num_cpus=0)(_fetch_here)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    pinned = [NodeAffinitySchedulingStrategy(node, soft=True) for node in nodes]
    ray.get([fetch.options(scheduling_strategy=where).remote(stages) for where in pinned])


def _fetch_here(stages: Sequence[Stage]) -> None:
    for step in stages:
        step.fetch()


def _stream(
    run: Run, stages: Sequence[Stage], reads: list[Read], placed: dict[str, Placement]
) -> None:
    """Send what `reads` give through the stages into shards of the run."""
    dataset = ray.data.read_datasource(_Reads(reads), override_num_blocks=len(reads))
    for room, group in itertools.groupby(stages, key=lambda step: step.room):
        if room is None:
            dataset = dataset.map_batches(
                partial(_apply, list(group), run.fingerprint),
                batch_size=None,
                batch_format="pyarrow",
            )
            continue
        where = placed[room]
        for step in group:
            dataset = dataset.map_batches(
                _Actor,
                fn_constructor_args=(step, where.cpus, run.fingerprint),
                batch_size=max(read.rows for read in reads),
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=where.smallest, max_size=where.largest),
                num_cpus=where.cpus,
                num_gpus=where.gpus,
                udf_modifying_row_count=False,
            )
    dataset = dataset.map_batches(partial(_write, run), batch_size=None, batch_format="pyarrow")
    batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    written = sum(batch["rows"].to_numpy().sum() for batch in batches)
    expected = sum(read.rows for read in reads)
    if written != expected:
        raise RuntimeError(f"{run.folder}: {written} rows were written of {expected}")


class _Actor:
    """One stage with its model loaded."""

    def __init__(self, step: Stage, cpus: float, run: str):
        self._stage = step
        self._run = run
        step.setup(cpus)

    def __call__(self, table: pa.Table) -> pa.Table:
        return metrics.run_stage(self._stage, table, self._run)


def _apply(stages: Sequence[Stage], run: str, table: pa.Table) -> pa.Table:
    for step in stages:
        table = metrics.run_stage(step, table, run)
    return table


def _write(run: Run, table: pa.Table) -> pa.Table:
    columns = [name for name in record.COLUMNS if name in table.column_names]
    shard = table.select(columns).cast(record.schema(columns))
    began = time.perf_counter()
    run.write_shard(shard, metrics.seconds(table))
    metrics.written(shard, run.fingerprint, time.perf_counter() - began)
    return pa.table({"rows": [table.num_rows]})


class _Reads(Datasource):  # type: ignore[misc]
    """A data set of tables that each come from one call."""

    def __init__(self, reads: list[Read]):
        super().__init__()
        self._reads = reads

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        # One task per read, whatever the parallelism: a read is already the unit of work.
        return [
            ReadTask(partial(_one_block, read.call), BlockMetadata(read.rows, None, None, None))
            for read in self._reads
        ]


def _one_block(call: Callable[[], pa.Table]) -> list[pa.Table]:
    began = time.perf_counter()
    table = call()
    return [metrics.with_seconds(table, "read", time.perf_counter() - began)]


def _reads_of_corpus(
    corpus: config.Corpus, index: corpora.Index, wanted: np.ndarray, rows: int
) -> list[Read]:
    reads = []
    for chunk in corpora.packed(index.chunks, rows):
        kept = wanted[chunk.first : chunk.first + chunk.rows]
        if kept.any():
            ids = index.ids[chunk.first : chunk.first + chunk.rows]
            call = partial(_read_chunk, corpus, chunk, ids, kept)
            reads.append(Read(call, int(kept.sum())))
    return reads


def _read_chunk(
    corpus: config.Corpus, chunk: corpora.Chunk, ids: np.ndarray, kept: np.ndarray
) -> pa.Table:
    table = corpora.read(corpus, chunk, ids)
    return table if kept.all() else table.filter(pa.array(kept))


def _reads_of_run(run: Run, snapshot: Snapshot, ids: np.ndarray, rows: int) -> list[Read]:
    reads = []
    for name, held in run.shards(snapshot):
        wanted = held[np.isin(held, ids)]
        for part in np.array_split(wanted, -(-len(wanted) // rows)) if len(wanted) else []:
            reads.append(Read(partial(run.read_shard, name, part), len(part)))
    return reads


@contextmanager
def _explained() -> Iterator[None]:
    """A JobError that a worker raised, as itself."""
    try:
        yield
    except RayError as error:
        # Of an exception in a stage or an actor, Ray keeps nothing but the traceback.
        found = re.findall(r"^projner\.errors\.JobError: (.+)$", str(error), re.MULTILINE)
        if not found:
            raise
        raise JobError(found[-1]) from error
