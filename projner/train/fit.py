"""From a training file to a tagger: the examples, the workers, and the folder that comes out.

```
OUTPUT/
  training.yaml   what the result depends on
  weights-N.npz   what gives the teachers of section N their weights, where that is learnt
  examples/       the examples of an epoch, Parquet
  beside/         what is learnt beside the tags, Parquet, a folder for each task
  metrics.jsonl   figures as they come; see `trackers`
  ray/            Ray Train's own: checkpoints to go on from
  model/          the best checkpoint, for `transformers` and for `label.model`
  result.json     figures of every evaluation; there when the training is finished
```
"""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import ray.train
import ray.train.torch
import torch
import yaml

import projner
from projner import checkpoints, config, devices, pipeline, progress, subwords
from projner.errors import JobError
from projner.evaluate import f1
from projner.label.decode import Labels
from projner.pipeline import Read, Reads
from projner.train import (
    alignment,
    auxiliary,
    card,
    examples,
    self_training,
    teachers,
    trackers,
)
from projner.train.beside import Source, Written
from projner.train.config import Learned, Training
from projner.train.data import Labelled, labelled, read_gold
from projner.train.examples import Reading
from projner.train.loop import STATE, Plan, Progress, new_model, work
from projner.train.teachers import Lesson


@dataclass(frozen=True)
class Fitted:
    """A finished training."""

    model: Path
    signature: str
    steps: int
    f1: float | None
    """On `dev`, where there is one."""
    history: list[dict[str, float]]


def fit(training: Training, tell: Callable[[str], None] | None = None) -> Fitted:
    """Train as a training file says, or go on where an earlier try ended.

    `tell` gets a line of figures now and then. Raises JobError for what the user can mend, before
    anything is written.
    """
    if not training.output:
        raise JobError("the training has no `output`; add one, or give --output DIR")
    trackers.check(training.trackers)
    if training.self_training is not None:
        return self_training.rounds(training, training.self_training, partial(fit, tell=tell))
    folder = Path(training.output).absolute()
    # Workers are elsewhere.
    training = training.model_copy(update={"output": str(folder)})
    data = _learnt_from(training)
    labels = _labels(training, data.classes)
    dev = _dev(training, labels)
    others = _others(training)
    settings = _settings(training, data, others)
    signature = _signature(training, data, others)
    finished = _finished_already(folder, settings)
    if finished is not None:
        return finished
    reading = _reading(training, labels)
    progress.current().on_begun()
    _begin(folder, settings)
    with pipeline.session():
        progress.current().does("writing examples")
        parts = _parts(training, data, labels, folder)
        rows = _write(folder / "examples", parts, partial(_encode, reading=reading))
        if rows < training.workers.bounds[1]:
            raise JobError(
                f"{rows} sentences are too few for {training.workers.bounds[1]} workers; lower "
                "workers.count"
            )
        steps = max(1, math.ceil(training.epochs * -(-rows // training.batch)))
        written = _write_others(folder / "beside", others, reading)
        plan = Plan(training, reading, rows, steps, dev, written)
        sinks: list[trackers.Sink] = [trackers.Watched(steps)]
        sinks += [trackers.Told(tell, steps)] if tell else []
        key = config.fingerprint(str(folder), settings)
        sinks += trackers.sinks(training.trackers, folder, key, settings)
        with trackers.following(folder, sinks):
            result = _train(plan, folder)
        return _finished(plan, result, folder, signature)


@dataclass(frozen=True)
class _LearntFrom:
    """Labelled sentences, and what teachers say of others."""

    labelled: Labelled
    lessons: list[Lesson]

    @property
    def classes(self) -> list[str]:
        told = (lesson.classes for lesson in self.lessons)
        return sorted({*self.labelled.classes}.union(*told))

    @property
    def signature(self) -> str:
        parts = [self.labelled.signature, *(lesson.signature for lesson in self.lessons)]
        return "|".join(filter(None, parts))


def _learnt_from(training: Training) -> _LearntFrom:
    given = training.data
    found = Labelled([], (), "")
    if given.runs or given.gold:
        found = labelled(given, training.seed)
    lessons = [
        teachers.lesson(section, given.ignore, training.seed) for section in training.teachers
    ]
    for lesson in lessons:
        teachers.check(lesson, {*found.classes}.union(*(each.classes for each in lessons)))
    return _LearntFrom(found, lessons)


def _parts(
    training: Training, data: _LearntFrom, labels: Sequence[str], folder: Path
) -> list[Read]:
    """All that there is to learn from, in tables of `data.SCHEMA`, once weights of teachers are learnt."""
    parts = [*data.labelled.parts]
    for number, lesson in enumerate(data.lessons):
        file = folder / f"weights-{number}.npz"
        if isinstance(lesson.section.weights, Learned) and not file.exists():
            learn = ray.remote(num_cpus=1, max_calls=1)(Lesson.learn)
            ray.get(learn.remote(lesson, file, training.seed))
        parts += lesson.parts(labels, training.data.ignore, file)
    return parts


def _labels(training: Training, classes: Sequence[str]) -> tuple[str, ...]:
    """The tags that the tagger will know: the model's own if it is a tagger, else those of the data.

    Raises JobError where a tagger does not know the classes of the data.
    """
    wanted = ("O", *(f"{prefix}-{name}" for name in classes for prefix in "BI"))
    names = checkpoints.load_config(training.model, training.revision).id2label
    own = tuple(names[number] for number in sorted(names))
    try:
        Labels.read(own)
    except ValueError:
        return wanted
    unknown = sorted({tag[2:] for tag in wanted if tag not in own} - {""})
    if unknown:
        raise JobError(
            f"{training.model}: is a tagger without {', '.join(unknown)}, which the data have; "
            "leave them out with data.ignore, or start from an encoder"
        )
    return own


def _dev(training: Training, labels: tuple[str, ...]) -> f1.Labelled | None:
    if training.dev is None:
        return None
    sentences = read_gold(training.dev, training.data.ignore)
    unknown = {tag[2:] for _, tags in sentences for tag in tags if tag not in labels}
    if unknown:
        raise JobError(
            f"{training.dev.path}: has {', '.join(sorted(unknown))}, which the training data do not; "
            "leave them out with data.ignore"
        )
    tokens, tags = ([*column] for column in zip(*sentences, strict=True))
    return f1.Labelled(training.dev.path, tokens, tags)


def _others(training: Training) -> tuple[Source, ...]:
    """What is learnt beside the tags, each under a name of its own."""
    found: list[Source] = []
    columns: Counter[str] = Counter()
    for section in training.auxiliary:
        columns[section.column] += 1
        again = columns[section.column]
        name = section.column if again == 1 else f"{section.column}_{again}"
        found.append(auxiliary.source(section, name, training.batch))
    if training.alignment is not None:
        found.append(alignment.source(training, training.alignment))
    return tuple(found)


def _settings(training: Training, data: _LearntFrom, others: Sequence[Source]) -> dict[str, Any]:
    """What the result depends on."""
    kept = training.model_dump(
        mode="json",
        exclude={"output", "workers", "device", "batch_tokens", "trackers"},
        exclude_defaults=True,
    )
    model = checkpoints.identity(training.model)
    settings = {**kept, "model": model, "learnt_from": data.signature}
    signatures = [other.task.signature for other in others]
    return {**settings, "beside": signatures} if signatures else settings


def _signature(training: Training, data: _LearntFrom, others: Sequence[Source]) -> str:
    kept = training.model_dump(
        mode="json",
        include={"epochs", "batch", "learning_rate", "warmup", "weight_decay", "seed", "soft_loss"},
    )
    described = ",".join(f"{key}={value}" for key, value in kept.items())
    model = f"{training.model}@{training.revision or checkpoints.identity(training.model)}"
    learnt = "".join(f"|beside:{other.task.signature}" for other in others)
    version = f"projner:{projner.__version__}"
    return f"train:{described}|model:{model}|data:{data.signature}{learnt}|{version}"


def _finished_already(folder: Path, settings: dict[str, Any]) -> Fitted | None:
    """What an earlier try left, if it came to its end.

    Raises JobError when the folder holds a training with other settings.
    """
    path, done = folder / "training.yaml", folder / "result.json"
    if not path.exists():
        return None
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    if stored != settings:
        keys = sorted(key for key in {*stored, *settings} if stored.get(key) != settings.get(key))
        raise JobError(
            f"{folder}: this training was made with other settings ({', '.join(keys)}); "
            "give another --output"
        )
    if not done.exists():
        return None
    return Fitted(folder / "model", **json.loads(done.read_text(encoding="utf-8")))


def _begin(folder: Path, settings: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(
            f"{folder}: cannot be made: {error.strerror}; give another --output"
        ) from None
    _write_whole(
        folder / "training.yaml", yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
    )


def _write_whole(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _reading(training: Training, labels: tuple[str, ...]) -> Reading:
    tokenizer = checkpoints.load_tokenizer(training.model, training.revision)
    frame = subwords.frame(tokenizer, training.model)
    own = subwords.limit(new_model(training, labels), tokenizer)
    if training.max_tokens is not None and training.max_tokens > own:
        raise JobError(
            f"{training.model}: reads {own} sub-words at once, fewer than max_tokens "
            f"({training.max_tokens}); leave max_tokens out"
        )
    limit = (training.max_tokens or own) - frame.size
    return Reading(training.model, training.revision, limit, labels)


def _encode(table: pa.Table, reading: Reading) -> pa.Table:
    return examples.encode(table, reading, reading.tokenizer())


def _write_others(folder: Path, others: Sequence[Source], reading: Reading) -> tuple[Written, ...]:
    """Write what is learnt beside the tags."""
    folder.mkdir(exist_ok=True)
    written = []
    for other in others:
        place = folder / other.task.name
        if not _write(place, other.parts, partial(other.task.encode, reading=reading)):
            raise JobError(f"{other.task.signature}: nothing to learn from here; leave it out")
        written.append(Written(other.task, place))
    return tuple(written)


def _write(folder: Path, parts: Sequence[Read], encode: Callable[[pa.Table], pa.Table]) -> int:
    """Write what is made of each part, in tasks on the cluster; the number of rows."""
    folder.mkdir(exist_ok=True)
    count = len(parts)
    files = [folder / f"{number:06}-of-{count:06}.parquet" for number in range(count)]
    reads = [
        Read(partial(_write_part, part, file, encode), 1)
        for part, file in zip(parts, files, strict=True)
    ]
    dataset = ray.data.read_datasource(Reads(reads), override_num_blocks=len(reads))
    batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    return int(sum(batch["rows"].to_numpy().sum() for batch in batches))


def _write_part(part: Read, file: Path, encode: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """One file, unless an earlier try has written it."""
    if file.exists():
        rows = pq.read_metadata(file).num_rows
    else:
        made = encode(part.call())
        unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        pq.write_table(made, unfinished, compression="zstd")
        os.replace(unfinished, file)
        rows = made.num_rows
    return pa.table({"rows": [rows]})


def _train(plan: Plan, folder: Path) -> ray.train.Result:
    """Have Ray Train do the work of the plan; it goes on from its last checkpoint by itself."""
    workers = plan.training.workers
    least, most = workers.bounds
    cluster = ray.cluster_resources()
    gpus = workers.gpus
    if gpus is None:
        gpus = min(1, cluster.get("GPU", 0)) if plan.training.device in ("auto", "cuda") else 0
    # Reading, and Ray Train's own processes, need the other half, but for moments only: a worker computes
    # on all of its share.
    share = cluster.get("CPU", 1) / most
    cpus = workers.cpus or share / 2
    trainer = ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={
            "plan": plan,
            "threads": workers.cpus or share,
            "folder": os.getcwd(),
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=least if least == most else (least, most),
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=str(folder),
            failure_config=ray.train.FailureConfig(max_failures=workers.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="f1"
            ),
        ),
        datasets={"train": ray.data.read_parquet(str(folder / "examples"))},
    )
    return trainer.fit()


def _work(given: dict[str, Any]) -> None:
    # Ray Train moves its workers to a folder of its own; what the file names lies beside the job.
    if os.path.isdir(given["folder"]):
        os.chdir(given["folder"])
    devices.use_threads(given["threads"])
    work(given["plan"])


def _finished(plan: Plan, result: ray.train.Result, folder: Path, signature: str) -> Fitted:
    """Put the best checkpoint where users find it, with a card that says how it was made."""
    best = max(result.best_checkpoints, key=lambda pair: pair[1]["f1"])[0]
    latest = result.checkpoint
    assert latest is not None
    with latest.as_directory() as kept:
        state = torch.load(Path(kept) / STATE, map_location="cpu", weights_only=True)
    reached = Progress(**json.loads(state["progress"]))
    made = folder / f".model.{uuid.uuid4().hex}"
    with best.as_directory() as kept:
        shutil.copytree(kept, made, ignore=shutil.ignore_patterns(STATE))
    figure = reached.best if plan.dev is not None else None
    (made / "README.md").write_text(card.text(plan, reached, signature), encoding="utf-8")
    shutil.rmtree(folder / "model", ignore_errors=True)
    made.rename(folder / "model")
    kept_fields: dict[str, Any] = {
        "signature": signature,
        "steps": reached.step,
        "f1": figure,
        "history": reached.history,
    }
    _write_whole(folder / "result.json", json.dumps(kept_fields, indent=1))
    return Fitted(folder / "model", **kept_fields)
