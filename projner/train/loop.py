"""What every training worker does: the same steps over its share of the examples.

A step takes `batch` sentences over all workers, in parts that fit the token budget; the gradients are
those of the mean loss over all words of the step. How many steps there are is settled before the first,
so a worker that is lost changes nothing: the next group goes on from the last checkpoint, in the same
epoch, at the same example.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from projner import batching, checkpoints, devices
from projner.config import Label
from projner.errors import JobError
from projner.evaluate import f1
from projner.evaluate.tagging import labels_of
from projner.train import losses
from projner.train.batch import Batch
from projner.train.config import Training
from projner.train.examples import Reading
from projner.train.trackers import Journal

if TYPE_CHECKING:
    import torch

    from projner.train.beside import Written

CPU_TOKENS = 2048
GPU_TOKENS = 16_384
STATE = "training.pt"
SHUFFLED = 65_536
"""Examples that are mixed at once, some 64 MB: sources that follow each other in the data mix whole."""


@dataclass(frozen=True)
class Plan:
    """A training that only has to be done."""

    training: Training
    reading: Reading
    rows: int
    """Examples of an epoch."""
    steps: int
    """Optimiser steps in all."""
    dev: f1.Labelled | None
    beside: tuple[Written, ...] = ()
    """What else is learnt in each step."""

    @property
    def epoch_steps(self) -> int:
        """Optimiser steps of an epoch; the last may have fewer sentences than others."""
        return -(-self.rows // self.training.batch)

    @property
    def evaluate_every(self) -> int:
        """Steps between two checkpoints."""
        return max(1, min(self.steps, self.epoch_steps // self.training.evaluations))


@dataclass
class Progress:
    """How far a training has come; kept in its checkpoints."""

    step: int = 0
    epoch: int = 0
    within: int = 0
    """Steps of this epoch."""
    best: float = -1.0
    without_gain: int = 0
    words: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def work(plan: Plan) -> None:
    """Train until the plan's steps are done; called in each worker by Ray Train."""
    import ray.train
    import torch
    from ray.train.torch import prepare_model

    training = plan.training
    context = ray.train.get_context()
    world, rank = context.get_world_size(), context.get_world_rank()
    torch.manual_seed(training.seed)
    worker = _Worker(plan, str(ray.train.torch.get_device()), rank)
    progress = Progress()
    given = ray.train.get_checkpoint()
    if given:
        with given.as_directory() as folder:
            progress = worker.restore(Path(folder))
    model = prepare_model(worker.whole) if world > 1 else worker.whole
    journal = None
    if rank == 0 and training.output:
        journal = Journal(Path(training.output), plan.evaluate_every)
    shard = ray.train.get_dataset_shard("train")
    local = max(1, training.batch // world)
    stopped = False
    while progress.step < plan.steps and not stopped:
        tables = shard.iter_batches(
            batch_size=local,
            batch_format="pyarrow",
            local_shuffle_buffer_size=max(64 * local, SHUFFLED),
            local_shuffle_seed=training.seed + progress.epoch,
        )
        # What came before the checkpoint has been learnt from.
        for table in itertools.islice(tables, progress.within, None):
            began = time.perf_counter()
            loss, words = worker.step(model, table, progress.step, world)
            progress.step += 1
            progress.within += 1
            progress.words += words * world
            seconds = time.perf_counter() - began
            progress.seconds += seconds
            if journal is not None:
                speed = table.num_rows * world, seconds
                journal.step(progress.step, plan.epoch_steps, worker.rate, loss, *speed)
            if progress.step % plan.evaluate_every == 0 or progress.step == plan.steps:
                stopped = worker.report(progress, loss, world)
                if journal is not None:
                    journal.evaluated(progress.history[-1], measured=plan.dev is not None)
            if stopped or progress.step == plan.steps:
                break
        progress.epoch, progress.within = progress.epoch + 1, 0


class _Worker:
    """A model, its optimiser, and what is done with them."""

    def __init__(self, plan: Plan, device: str, rank: int) -> None:
        import torch

        from projner.train.beside import Device, Together

        self.plan = plan
        self.rank = rank
        training = plan.training
        self.model = new_model(training, plan.reading.labels).to(device).train()
        self.tokenizer = plan.reading.tokenizer()
        self.device = Device(
            name=device,
            dtype=devices.choose_dtype(training.dtype, device),
            budget=training.batch_tokens or (CPU_TOKENS if device == "cpu" else GPU_TOKENS),
            pad=self.tokenizer.pad_token_id or 0,
        )
        self.beside = {
            each.task.name: each.learner(self.model, self.device, training.seed)
            for each in plan.beside
        }
        self.whole = Together(self.model, [each.head for each in self.beside.values()])
        self.losses: dict[str, list[float]] = {name: [] for name in self.beside}
        # Weights decay, but neither biases nor norms.
        decaying = [p for p in self.whole.parameters() if p.ndim > 1]
        others = [p for p in self.whole.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decaying, "weight_decay": training.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=training.learning_rate,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: rate(step, plan.steps, training.warmup)
        )

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule.get_last_lr()[0])

    def step(self, model: Any, table: pa.Table, number: int, world: int) -> tuple[float, int]:
        """The optimiser step `number`; the mean loss and the number of words of this worker's share."""
        import torch

        # These gradients only add up here. Workers average what is there when the last part of the tags
        # goes back, which is the one pass that comes through `model` and not under `no_sync`.
        for name, learner in self.beside.items():
            lost = learner.learn(number, self.rank, world)
            if lost is not None:
                self.losses[name].append(lost)
        batch = Batch.of(table, self.device.pad)
        parts = batching.pack(batch.lengths, self.device.budget)
        # Gradients are averaged over workers, whose shares may differ in words.
        scale = max(self._total(float(batch.weights.sum()), world) / world, 1e-9)
        total = 0.0
        for rows in parts:
            alone = world > 1 and rows is not parts[-1]
            with model.no_sync() if alone else nullcontext():
                loss = self._loss(model, batch, rows) / scale
                (loss + self.whole.nothing()).backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.whole.parameters(), self.plan.training.max_gradient)
        self.optimiser.step()
        self.schedule.step()
        self.optimiser.zero_grad(set_to_none=True)
        return total, len(batch.words)

    def _loss(self, model: Any, batch: Batch, rows: np.ndarray) -> torch.Tensor:
        """The summed loss of some rows of a batch."""
        grid, mask, cells, labels, weights, soft, probs = self.device.send(batch.part(rows))
        with self.device.autocast():
            logits = model(input_ids=grid, attention_mask=mask).logits
        answers = logits.flatten(0, 1).index_select(0, cells)
        loss = losses.hard(answers[~soft], labels[~soft], weights[~soft])
        if len(probs):
            match = losses.SOFT[self.plan.training.soft_loss]
            loss = loss + match(answers[soft], probs, weights[soft])
        return loss

    def _total(self, value: float, world: int) -> float:
        """The sum of a value over all workers."""
        if world == 1:
            return value
        import torch
        import torch.distributed

        tensor = torch.tensor(value, device=self.device.name)
        torch.distributed.all_reduce(tensor)
        return float(tensor)

    def report(self, progress: Progress, loss: float, world: int) -> bool:
        """Evaluate and save what was learnt; whether it is enough."""
        import ray.train
        from ray.train.collective import broadcast_from_rank_zero

        metrics: dict[str, float] = {}
        checkpoint, folder = None, None
        if self.rank == 0:
            folder = Path(tempfile.mkdtemp(prefix="projner-train-"))
            metrics = self._saved(folder, progress, loss)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        if world > 1:
            metrics = broadcast_from_rank_zero(metrics)
        # Every worker reports, for each waits for the others here.
        ray.train.report(metrics, checkpoint=checkpoint)
        for since in self.losses.values():
            since.clear()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return bool(metrics["enough"])

    def _saved(self, folder: Path, progress: Progress, loss: float) -> dict[str, float]:
        import torch

        training = self.plan.training
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        metrics = {
            "step": progress.step,
            "epoch": progress.step / self.plan.epoch_steps,
            "loss": loss,
            "learning_rate": self.rate,
            "words_per_second": progress.words / max(progress.seconds, 1e-9),
        }
        for name, since in self.losses.items():
            if since:
                metrics[f"{name}_loss"] = float(np.mean(since))
            metrics |= {f"{name}_{key}": of for key, of in self.beside[name].measure().items()}
        # Where nothing tells checkpoints apart, the latest is the best.
        metrics["f1"] = float(progress.step)
        if self.plan.dev is not None:
            label = Label(model=str(folder), device=training.device, max_tokens=training.max_tokens)
            metrics["f1"] = f1.evaluate(self.plan.dev, labels_of(label, self.plan.dev)).overall.f1
        gained = metrics["f1"] > progress.best
        progress.best = max(progress.best, metrics["f1"])
        progress.without_gain = 0 if gained else progress.without_gain + 1
        metrics["enough"] = float(
            training.patience is not None and progress.without_gain >= training.patience
        )
        progress.history.append(metrics)
        state = {
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "heads": self.whole.heads.state_dict(),
            "progress": json.dumps(vars(progress)),
        }
        torch.save(state, folder / STATE)
        return metrics

    def restore(self, folder: Path) -> Progress:
        """Go on from a checkpoint."""
        import torch
        from safetensors.torch import load_file

        self.model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        state = torch.load(folder / STATE, map_location=self.device.name, weights_only=True)
        self.whole.heads.load_state_dict(state["heads"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        return Progress(**json.loads(state["progress"]))


def rate(step: int, steps: int, warmup: float) -> float:
    """The learning rate at a step, as a share of the highest: up in the first `warmup` of the steps,
    then straight down to 0 at the last."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return max(0.0, (steps - step) / max(1.0, steps - rising))


def new_model(training: Training, labels: Sequence[str]) -> Any:
    """The checkpoint with a head for `labels`, new if its own is for others, in float32.

    Raises JobError for a checkpoint that cannot be had, or has fewer layers than the training keeps.
    """
    import torch

    settings = checkpoints.load_config(training.model, training.revision)
    settings.id2label = dict(enumerate(labels))
    settings.label2id = {name: number for number, name in enumerate(labels)}
    if training.layers is not None:
        own = settings.num_hidden_layers
        if training.layers > own:
            raise JobError(
                f"{training.model}: has {own} layers, fewer than `layers` ({training.layers}); "
                "leave `layers` out"
            )
        settings.num_hidden_layers = training.layers
    return checkpoints.load_model(
        "AutoModelForTokenClassification",
        training.model,
        revision=training.revision,
        dtype=torch.float32,
        device="cpu",
        config=settings,
        new_head=True,
    )
