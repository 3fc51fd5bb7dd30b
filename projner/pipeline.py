"""From a job file to finished runs: the Ray Data plan.

A job is a chain of runs. Each reads the corpus or its parent's snapshot, streams it through some
stages, and publishes a snapshot of its own; the last one is the result. Stages that hold a model live
in pools of actors; the others, and the writing of shards, are tasks.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray._private import ray_constants
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from projner import (
    actors,
    config,
    devices,
    environments,
    methods,
    metrics,
    placement,
    progress,
    record,
    settled,
    storage,
)
from projner.corpus import index as corpora
from projner.errors import JobError
from projner.methods import Segment
from projner.placement import Placement
from projner.record import Status
from projner.runs import corrections, lease
from projner.runs.lease import Lease
from projner.runs.run import Located, Run, Snapshot, Wanted
from projner.stage import Stage
from projner.storage import Place

log = logging.getLogger(__name__)

BLOCKS_PER_WORKER = 4
"""Blocks that each actor of a pool, or each CPU, should get, so that none idles while another has two
left."""
LEAST_ROWS = 100
"""Rows of a block in a corpus too small to be worth sharing out."""
RETRIED = tuple(status.value for status in Status if status is not Status.OK)
"""Statuses of rows that can be computed again on request."""


@dataclass(frozen=True)
class Read:
    """A call that gives a table of `rows` rows."""

    call: Callable[[], pa.Table]
    rows: int


@dataclass(frozen=True)
class Part:
    """One run of a finished job's chain."""

    name: str
    fingerprint: str
    computed: int
    """Rows that this call computed; 0 when they were there already."""
    seconds: float
    """What this call took."""
    stages: dict[str, float]
    """Seconds that each stage took for all rows there are, over all actors, whenever that was."""


@dataclass(frozen=True)
class Result:
    """What a finished job left: the last run of its chain, and how long everything took."""

    run: Run
    snapshot: Snapshot
    before: Snapshot | None
    """The run's newest snapshot before this call, which is `snapshot` where nothing changed."""
    computed: int
    """Rows of the last run that this call computed; 0 when everything was there already."""
    parts: tuple[Part, ...]
    """The runs of the chain, in order."""

    @property
    def seconds(self) -> dict[str, float]:
        """What this call took for each run, by the name of its segment."""
        return {part.name: part.seconds for part in self.parts}

    @property
    def stages(self) -> dict[str, float]:
        """Seconds that each stage took for all rows there are, over all actors, whenever that was."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part.stages)
        return dict(total)


@contextmanager
def session() -> Iterator[None]:
    """A Ray to work on: the one already joined, the cluster of RAY_ADDRESS, or a local one.

    Raises JobError when there is no cluster at that address.
    """
    started = not ray.is_initialized()
    if started:
        progress.current().does("starting Ray")
        _join(os.environ.get("RAY_ADDRESS"))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = actors.DEATHS
    # A batch takes a large model its time on CPUs, and so does a queue for GPUs.
    context.execution_no_progress_timeout_s = 6 * 3600
    if not progress.current().keeps_chatter:
        # What goes wrong is raised.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _join(address: str | None) -> None:
    kept = progress.current().keeps_chatter
    level = logging.INFO if kept else logging.ERROR
    quiet: dict[str, Any] = {"log_to_driver": kept, "logging_level": level}
    if not address:
        # Ray left to itself would join whatever was last started on this machine.
        with _on_loopback():
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


def index_of(job: config.Job) -> corpora.Index:
    """What is in a job's corpus, as `project` wants to know it. Raises JobError."""
    return corpora.index(_corpus_here(job.corpus), _chunk_rows(job))


def _corpus_here(corpus: config.Corpus) -> config.Corpus:
    """The corpus with relative paths as they are meant in this folder."""
    if _has_a_folder() or storage.is_url(corpus.root):
        return corpus
    return corpus.model_copy(update={"root": os.path.abspath(corpus.root)})


def _models_here(job: config.Job) -> config.Job:
    """The job with the folders of its models as they are meant in this folder."""
    if _has_a_folder():
        return job

    def found(section: Any) -> Any:
        model = getattr(section, "model", None)
        if not isinstance(model, str) or not os.path.isdir(os.path.expanduser(model)):
            return section
        return section.model_copy(update={"model": os.path.abspath(os.path.expanduser(model))})

    names = ("translate", "translate_marked", "label", "label_target")
    return job.model_copy(
        update={
            **{name: found(getattr(job, name)) for name in names},
            "align": tuple(map(found, job.align)),
        }
    )


def _has_a_folder() -> bool:
    """Whether this job was submitted with a folder of its own, which workers have wherever they are.

    Workers of a cluster that was merely joined are in some other folder than this process.
    """
    return RAY_JOB_CONFIG_JSON_ENV_VAR in os.environ


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have a Ray that is started here listen to this machine alone, not to its network.

    That is what Ray does where it supports no clusters; an address of one's choice it does not take.
    """
    name, enabled = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    before = os.environ.get(name)
    os.environ[name] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def project(
    job: config.Job,
    retry: Sequence[str] = (),
    known: corpora.Index | None = None,
    beside: Sequence[config.Job] = (),
) -> Result:
    """Run a whole job: compute what is not there yet, and publish what the corpus holds now.

    Rows that have one of the statuses in `retry` are computed again.

    Jobs `beside` it on the same corpus, for which the same is done later, share what can be shared
    (see `methods.chain`). `known`, if given, is the `index_of` one of them, so that the corpus need
    not be read again.

    Raises JobError for what the user can mend, before anything is written.
    """
    if not job.output:
        raise JobError("the job has no `output`; add one, or give --output DIR")
    unknown = [name for name in retry if name not in RETRIED]
    if unknown:
        raise JobError(f"--retry {unknown[0]}: choose statuses among {', '.join(RETRIED)}")
    output = storage.at(job.output)
    storage.refuse_file(output)
    job, *beside = (_models_here(without_gpus(each)) for each in (job, *beside))
    progress.current().does("reading the corpus")
    index = known or index_of(job)
    progress.current().does("looking for what is there")
    with ExitStack() as joined, _explained():
        if beside or not _devices(job):
            chain = _chain(job, index, beside, joined)
            return _walk(job, output, index, chain, retry, joined)
        memory = settled.Memory(output, job, index.columns, index.partial)
        remembered = memory.chain()
        if remembered is not None:
            with suppress(settled.UnsettledError):
                return _walk(job, output, index, remembered, retry, joined)
        chain = _chain(job, index, (), joined)
        result = _walk(job, output, index, chain, retry, joined)
        memory.keep(chain)
        return result


def _walk(
    job: config.Job,
    output: Place,
    index: corpora.Index,
    chain: Sequence[Segment],
    retry: Sequence[str],
    joined: ExitStack,
) -> Result:
    """Bring every run of a job up to date.

    Raises UnsettledError when something must be computed and the segments have no stages to do it.
    """
    watched = progress.current()
    watched.plan([segment.name for segment in chain])
    parts: list[Part] = []
    wanted = Wanted(index.ids, index.revisions)
    parent: tuple[Run, Snapshot] | None = None
    for number, segment in enumerate(chain):
        began = time.perf_counter()
        run = Run(output / "runs" / segment.fingerprint)
        before = run.latest()
        located = run.locate(wanted, bool(retry))
        todo = _todo(located, retry)
        watched.begin(segment.name, len(todo), int((~todo).sum()))
        snapshot = before
        if before is None or todo.any() or not run.holds(before, wanted, located):
            if todo.any() and not segment.stages:
                raise settled.UnsettledError
            _refuse_another_corpus(run, before, job, wanted)
            if todo.any():
                joined.enter_context(session())
                # Refused before anything is written.
                _pools(job, segment)
            watched.on_begun()
            run.begin(segment.settings)
            with lease.hold(run.folder) as held:
                # Again, for another job may have written here until now.
                located = run.locate(wanted, bool(retry))
                todo = _todo(located, retry)
                written: list[str] = []
                if todo.any():
                    if not segment.stages:
                        raise settled.UnsettledError
                    joined.enter_context(session())
                    attempt = located.attempts + 1 if retry else 0
                    given = None
                    if number == len(chain) - 1:
                        given = corrections.kept(run, index.ids, index.revisions)
                    work = _Work(job, segment, run, index, parent, attempt, given)
                    written = _compute(work, todo, held)
                watched.does("publishing")
                snapshot = run.publish(
                    wanted,
                    index.origins(),
                    parent=(parent[0].fingerprint, parent[1].number) if parent else None,
                    signature=segment.signature,
                    corpus=_which(job),
                    written=written,
                    confirm=held.check,
                )
        assert snapshot is not None
        parent = run, snapshot
        wanted = run.handed_on(snapshot)
        parts.append(
            Part(
                name=segment.name,
                fingerprint=segment.fingerprint,
                computed=int(todo.sum()),
                seconds=time.perf_counter() - began,
                stages=dict(snapshot.seconds),
            )
        )
    watched.end()
    assert parent is not None
    return Result(*parent, before, parts[-1].computed, tuple(parts))


def _todo(located: Located, retry: Sequence[str]) -> np.ndarray:
    """Rows (bool) that must be computed: those that are missing, and those to be retried."""
    return located.missing | located.with_status(retry) if retry else located.missing


def _which(job: config.Job) -> dict[str, Any]:
    """Which sentences a job is about."""
    return job.corpus.model_dump(mode="json", include=methods.WHICH, exclude_defaults=True)


def _refuse_another_corpus(
    run: Run, before: Snapshot | None, job: config.Job, wanted: Wanted
) -> None:
    """Raise JobError when a run holds a corpus that has neither a name nor a row in common.

    Its rows would leave the next snapshot, all of them.
    """
    if before is None:
        return
    names = {(job.corpus.root, name) for name in job.corpus.names()}
    there = before.corpus
    known = {
        (there.get("root", ""), name)
        for key in ("source", "target", "links", "path")
        for name in there.get(key, ())
    }
    if known & names or not known:
        return
    if not np.isin(run.ids(before), wanted.ids).any():
        raise JobError(
            f"{run.folder}: holds another corpus ({', '.join(sorted(name for _, name in known))}), of "
            "which this job has no sentence; give another --output"
        )


def _chunk_rows(job: config.Job) -> int:
    """Rows that are read together: never more than belong into a shard, or a model's batch."""
    sizes = [corpora.CHUNK_ROWS, job.resources.shard_rows]
    if job.translate or job.label or job.label_target or job.align:
        sizes.append(job.resources.batch_rows)
    return min(sizes)


def _devices(job: config.Job) -> set[str]:
    """The devices that the job's models are asked to run on; empty where it has no model."""
    sections = [job.translate, job.translate_marked, job.label, job.label_target, *job.align]
    return {str(section.device) for section in sections if section and hasattr(section, "device")}


def _chain(
    job: config.Job, index: corpora.Index, beside: Sequence[config.Job], joined: ExitStack
) -> list[Segment]:
    """The job's segments, settled where models will run: what `auto` means depends on the machine."""
    if not _devices(job):
        return methods.chain(job, index.columns, index.partial, beside)
    joined.enter_context(session())
    gpus = min(1, ray.cluster_resources().get("GPU", 0)) if _devices(job) & {"auto", "cuda"} else 0
    _check_environments([job, *beside])
    chain = ray.remote(num_cpus=0, num_gpus=gpus)(methods.chain)
    segments: list[Segment] = ray.get(chain.remote(job, index.columns, index.partial, beside))
    return segments


def _check_environments(jobs: Iterable[config.Job]) -> None:
    """Raise JobError where an environment that a section names cannot hold its model.

    Looked at on every node that has what models want: GPUs, where any node has some.
    """
    wanted = {
        (environments.location(section.environment), ("vllm",) if section.engine == "vllm" else ())
        for job in jobs
        for section in (job.translate, job.translate_marked, job.label, job.label_target)
        if section and section.environment
    }
    if not wanted:
        return
    check = ray.remote(num_cpus=0)(environments.check)
    alive = [node for node in ray.nodes() if node["Alive"]]
    kind = "GPU" if any(node["Resources"].get("GPU") for node in alive) else "CPU"
    able = [node["NodeID"] for node in alive if node["Resources"].get(kind)]
    pinned = [NodeAffinitySchedulingStrategy(node, soft=True) for node in able]
    ray.get(
        [
            check.options(scheduling_strategy=where).remote(*each)
            for where in pinned
            for each in wanted
        ]
    )


def without_gpus(job: config.Job) -> config.Job:
    """The job with `device: cpu` where the actors of a room are to have no GPU."""

    def settled(section: Any, pool: config.Pool) -> Any:
        if pool.gpus == 0 and getattr(section, "device", None) == "auto":
            return section.model_copy(update={"device": "cpu"})
        return section

    pools = job.resources
    return job.model_copy(
        update={
            "translate": settled(job.translate, pools.translate),
            "translate_marked": settled(job.translate_marked, pools.translate),
            "label": settled(job.label, pools.label),
            "label_target": settled(job.label_target, pools.label),
            "align": tuple(settled(each, pools.align) for each in job.align),
        }
    )


@dataclass(frozen=True)
class _Pool:
    """Stages in a row that share the actors of one pool, or that need no actors."""

    where: Placement | None
    places: tuple[int, ...]
    """Of the stages, in their segment."""
    environment: str | None = None
    """The Python that the actors run in, where that is not the job's own."""

    def options(self) -> dict[str, Any]:
        """What Ray must be told of it."""
        if self.environment is None:
            return {}
        return {"runtime_env": {"py_executable": environments.location(self.environment)}}


def _pools(job: config.Job, segment: Segment) -> list[_Pool]:
    """The pools of a segment, in the order of its stages.

    Raises JobError for a plan that does not fit the cluster.
    """
    grouped = itertools.groupby(
        enumerate(segment.stages), key=lambda each: (each[1].room, each[1].environment)
    )
    rooms = [(*key, tuple(place for place, _ in group)) for key, group in grouped]
    asked = [(room, getattr(job.resources, room)) for room, *_ in rooms if room]
    held = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [placement.Share(each.get("CPU", 0.0), each.get("GPU", 0.0)) for each in held]
    placed = iter(placement.place(asked, nodes) if asked else ())
    return [
        _Pool(next(placed) if room else None, places, environment)
        for room, environment, places in rooms
    ]


@dataclass(frozen=True)
class _Work:
    """What rows are computed for, and from."""

    job: config.Job
    segment: Segment
    run: Run
    index: corpora.Index
    parent: tuple[Run, Snapshot] | None
    attempt: int
    corrections: pa.Table | None
    """What people gave as labels of rows, if they did."""

    def reads(self, wanted: np.ndarray, rows: int) -> list[Read]:
        """Calls that give the rows that are `wanted` (bool), up to `rows` each."""
        if self.parent:
            return _reads_of_run(*self.parent, wanted, rows)
        return _reads_of_corpus(self.job.corpus, self.index, wanted, rows)


def _compute(work: _Work, todo: np.ndarray, held: Lease) -> list[str]:
    """Write the rows that are `todo` into whole shards of the run; the shards' names."""
    resources, stages = work.job.resources, work.segment.stages
    pools = _pools(work.job, work.segment)
    workers, most = ray.cluster_resources().get("CPU", 1), resources.shard_rows
    if any(pool.where for pool in pools):
        workers, most = max(p.where.largest for p in pools if p.where), resources.batch_rows
    rows = min(most, max(LEAST_ROWS, int(todo.sum() / (workers * BLOCKS_PER_WORKER))))
    everything = partial(work.reads, np.ones(len(todo), bool), rows)
    taught = [
        _Taught(stages[place], _learnt(stages[place], work.run, everything, pool.where))
        for pool in pools
        for place in pool.places
    ]
    _fetch([step for step in stages if step.room])
    return _stream(work, taught, work.reads(todo, rows), pools, held)


@dataclass(frozen=True)
class _Taught:
    """A stage, and where what it has learnt is."""

    step: Stage
    place: Place | None

    def ready(self) -> Stage:
        """The stage, with what it has learnt, on this machine."""
        return self.step.recall(self.place.local(_cache())) if self.place else self.step


@dataclass(frozen=True)
class _Tables:
    """What some reads give, as often as it is asked for."""

    reads: list[Read]

    def __iter__(self) -> Iterator[pa.Table]:
        return (read.call() for read in self.reads)


def _learnt(
    step: Stage, run: Run, reads: Callable[[], list[Read]], where: Placement | None
) -> Place | None:
    """Where what a stage learns from the corpus is; it learns once in a run's life.

    One that holds a model learns `where` an actor of it could be, in a process that ends with that.
    """
    if not step.learns:
        return None
    progress.current().does(f"learning from the corpus: {step.name}")
    steps = run.folder / "steps"
    pointer = steps / f"{step.name}.json"
    if not pointer.is_file():
        folder = f"{step.name}-{uuid.uuid4().hex}"
        if where is None:
            _learn(step, _Tables(reads()), steps / folder)
        else:
            learn = ray.remote(num_cpus=where.cpus, num_gpus=where.gpus, max_calls=1)(_learn)
            ray.get(learn.remote(step, _Tables(reads()), steps / folder, where.cpus))
        pointer.create(json.dumps({"folder": folder}).encode())
    return steps / str(json.loads(pointer.read())["folder"])


def _learn(step: Stage, tables: _Tables, place: Place, cpus: float | None = None) -> None:
    if cpus is not None:
        devices.use_threads(cpus)
        step.fetch()
    with tempfile.TemporaryDirectory(prefix="projner-") as name:
        step.learn(tables, Path(name))
        place.make()
        for path in sorted(Path(name).rglob("*")):
            there = place / path.relative_to(name).as_posix()
            if path.is_dir():
                there.make()
            else:
                there.write(path.read_bytes())


def _cache() -> Path:
    """A folder of this user's alone, for copies of what lies in object stores."""
    folder = Path(tempfile.gettempdir()) / f"projner-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise JobError(f"{folder}: belongs to another user; set TMPDIR to a folder of your own")
    return folder


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
    work: _Work,
    taught: Sequence[_Taught],
    reads: list[Read],
    pools: Sequence[_Pool],
    held: Lease,
) -> list[str]:
    """Send what `reads` give through the stages into shards of the run; the shards' names."""
    run = work.run
    dataset = ray.data.read_datasource(Reads(reads), override_num_blocks=len(reads))
    watches = []
    for pool in pools:
        group, where = [taught[place] for place in pool.places], pool.where
        if where is None:
            dataset = dataset.map_batches(
                partial(_apply, group, run.fingerprint), batch_size=None, batch_format="pyarrow"
            )
            continue
        watches.append(actors.watch())
        dataset = dataset.map_batches(
            actors.Actor,
            fn_constructor_args=(group, where, run.fingerprint, watches[-1]),
            batch_size=max(read.rows for read in reads),
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=where.smallest, max_size=where.largest),
            num_cpus=where.cpus,
            num_gpus=where.gpus,
            udf_modifying_row_count=False,
            **pool.options(),
        )
    dataset = dataset.map_batches(
        partial(_write, run, work.attempt, work.corrections),
        batch_size=None,
        batch_format="pyarrow",
    )
    watched = progress.current()
    watched.does("loading models" if watches else "computing")
    names: list[str] = []
    written = 0
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        if held.lost:
            held.check()
        written += int(batch["rows"].to_numpy().sum())
        names += batch["shard"].to_pylist()
        watched.does("computing")
        for told in map(json.loads, batch["told"].to_pylist()):
            watched.add(told["rows"], told["statuses"], told["seconds"])
    expected = sum(read.rows for read in reads)
    if written != expected:
        raise RuntimeError(f"{run.folder}: {written} rows were written of {expected}")
    return names


def _apply(taught: Sequence[_Taught], run: str, table: pa.Table) -> pa.Table:
    return actors.apply([each.ready() for each in taught], run, table)


def _write(run: Run, attempt: int, given: pa.Table | None, table: pa.Table) -> pa.Table:
    columns = [name for name in record.COLUMNS if name in table.column_names]
    shard = table.select(columns).cast(
        record.schema(columns, record.classes(table.schema.metadata))
    )
    if given is not None:
        shard = corrections.put_over(given, shard)
    began = time.perf_counter()
    seconds = metrics.seconds(table)
    name = run.write_shard(shard, seconds, attempt)
    statuses = metrics.written(shard, run.fingerprint, time.perf_counter() - began)
    told = {"rows": table.num_rows, "statuses": statuses, "seconds": seconds}
    return pa.table({"rows": [table.num_rows], "shard": [name], "told": [json.dumps(told)]})


class Reads(Datasource):  # type: ignore[misc]
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
        here = slice(chunk.first, chunk.first + chunk.rows)
        todo = np.flatnonzero(wanted[here])
        # A chunk is read once for each of its parts: few, because only small corpora have any.
        for part in np.array_split(todo, -(-len(todo) // rows)) if len(todo) else []:
            kept = np.isin(np.arange(chunk.rows), part)
            call = partial(_read_chunk, corpus, chunk, index.ids[here], index.revisions[here], kept)
            reads.append(Read(call, len(part)))
    return reads


def _read_chunk(
    corpus: config.Corpus,
    chunk: corpora.Chunk,
    ids: np.ndarray,
    revisions: np.ndarray,
    kept: np.ndarray,
) -> pa.Table:
    table = corpora.read(corpus, chunk, ids, revisions)
    return table if kept.all() else table.filter(pa.array(kept))


def _reads_of_run(run: Run, snapshot: Snapshot, wanted: np.ndarray, rows: int) -> list[Read]:
    reads: list[Read] = []
    parts: list[tuple[str, np.ndarray]] = []
    held = 0
    for name, ids in run.shards(snapshot, wanted):
        while len(ids):
            parts.append((name, ids[: rows - held]))
            ids = ids[rows - held :]
            held += len(parts[-1][1])
            if held == rows:
                reads.append(Read(partial(run.hand_on, parts), held))
                parts, held = [], 0
    if parts:
        reads.append(Read(partial(run.hand_on, parts), held))
    return reads


@contextmanager
def _explained() -> Iterator[None]:
    """A JobError that a worker raised, as itself."""
    try:
        yield
    except RayError as error:
        # Of an exception in a stage or an actor, Ray keeps nothing but the traceback.
        found = re.findall(r"^projner\.errors\.JobError: (.+)$", str(error), re.MULTILINE)
        if found:
            raise JobError(found[-1]) from error
        if isinstance(error, ActorDiedError):
            reason = str(error).strip().splitlines()[-1].strip()
            raise JobError(f"the models cannot be loaded: {reason}") from error
        raise
