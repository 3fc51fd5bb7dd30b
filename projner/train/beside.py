"""What is learnt beside the tags: tasks with rows of their own, of which every optimiser step has some.

Which rows a step has is settled by its number alone, so a training that goes on from a checkpoint, with
however many workers, learns from what it would have learnt from otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from projner.pipeline import Read
from projner.train.examples import Reading


@dataclass(frozen=True)
class Device:
    """What a worker computes on, and how."""

    name: str
    dtype: torch.dtype
    budget: int
    """Sub-words, padding included, that are computed at once."""
    pad: int

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        mixed = self.dtype != torch.float32
        return torch.autocast(self.name.split(":")[0], self.dtype, enabled=mixed)

    def send(self, arrays: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Arrays on the device."""
        return [torch.from_numpy(array).to(self.name) for array in arrays]


class Learner(Protocol):
    """A task in a worker."""

    head: torch.nn.Module
    """What it trains besides the tagger; may be empty."""

    def learn(self, step: int, rank: int, world: int) -> float | None:
        """Add the gradients of this worker's rows of a step; their loss, or None where nothing is learnt.

        The mean of all workers' gradients is that of the task's weight times the mean loss over all
        that the step has.
        """

    def measure(self) -> dict[str, float]:
        """Figures of an evaluation, by name, besides the loss."""


class Task(Protocol):
    """Something to learn beside the tags: small, and the same in every worker."""

    @property
    def name(self) -> str:
        """What its figures are called."""

    @property
    def batch(self) -> int:
        """Rows of an optimiser step, over all workers."""

    @property
    def held_out(self) -> int:
        """Rows that are not learnt from, at most; they are never more than a tenth."""

    @property
    def signature(self) -> str:
        """What it is, and from which data."""

    @property
    def described(self) -> str:
        """The same for the tagger's card."""

    def encode(self, table: pa.Table, reading: Reading) -> pa.Table:
        """The rows that are learnt from, of a table of one of its parts."""

    def learner(self, tagger: Any, device: Device, rows: Rows) -> Learner:
        """What learns it, by the states of the tagger's encoder."""


@dataclass(frozen=True)
class Source:
    """A task and the tables that it is learnt from."""

    task: Task
    parts: list[Read]


@dataclass(frozen=True)
class Written:
    """A task whose rows are in the Parquet files of a folder."""

    task: Task
    folder: Path

    def learner(self, tagger: Any, device: Device, seed: int) -> Learner:
        """What learns it from these rows, in an order by `seed`."""
        rows = Rows(self.folder, self.task.batch, seed, self.task.held_out)
        return self.task.learner(tagger, device, rows)


class Together(torch.nn.Module):  # type: ignore[misc]
    """A tagger with the heads that learn beside it: one module, whose gradients workers average."""

    def __init__(self, tagger: torch.nn.Module, heads: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.tagger = tagger
        self.heads = torch.nn.ModuleList(heads)

    def forward(self, **given: Any) -> Any:
        """What the tagger says."""
        return self.tagger(**given)

    def nothing(self) -> Any:
        """0, for a loss that has to reach the heads: workers wait for every parameter's gradient."""
        return sum(0 * each.sum() for each in self.heads.parameters())


class Rows:
    """The rows in the Parquet files of a folder, in memory, and which of them a step has."""

    def __init__(self, folder: Path, size: int, seed: int, held_out: int = 0) -> None:
        files = sorted(folder.glob("*.parquet"))
        self._table = pa.concat_tables(pq.read_table(file) for file in files)
        self._size = size
        self._seed = seed
        self._order: tuple[int, np.ndarray] | None = None
        drawn = np.random.default_rng(seed).permutation(self._table.num_rows)
        held_out = min(held_out, len(drawn) // 10)
        self.held_out = np.sort(drawn[:held_out])
        """Rows that no step has, by number."""
        self._learnt = np.sort(drawn[held_out:])

    def lengths(self, column: str) -> np.ndarray:
        """How many items each row has in a column of lists."""
        return np.asarray(pc.list_value_length(self._table[column]), np.int64)

    def sums(self, column: str) -> np.ndarray:
        """The sum of each row's items in a column of lists."""
        sums = []
        for chunk in self._table[column].chunks:
            before = np.concatenate([[0], np.cumsum(np.asarray(chunk.flatten(), np.float64))])
            ends = np.cumsum(np.asarray(pc.list_value_length(chunk), np.int64))
            sums.append(np.diff(before[ends], prepend=0))
        return np.concatenate(sums)

    def of_step(self, step: int) -> np.ndarray:
        """The rows of a step, by number: passes over all of them, each in an order of its own."""
        places = np.arange(step * self._size, (step + 1) * self._size)
        turns, within = np.divmod(places, len(self._learnt))
        return np.concatenate(
            [self._turn(turn)[within[turns == turn]] for turn in np.unique(turns).tolist()]
        )

    def take(self, rows: np.ndarray) -> pa.Table:
        """Some rows, by number."""
        chosen = [self._table.slice(row, 1) for row in rows.tolist()]
        return pa.concat_tables(chosen) if chosen else self._table.slice(0, 0)

    def _turn(self, turn: int) -> np.ndarray:
        if self._order is None or self._order[0] != turn:
            chance = np.random.default_rng([self._seed, turn])
            self._order = turn, chance.permutation(self._learnt)
        return self._order[1]
