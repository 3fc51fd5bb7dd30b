"""How far a running command has come, for whoever watches it.

What runs tells the `current` progress; a view looks at it when it likes. Rows count when their shard is
written, steps of a training when they are reported, so that nothing is guessed.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic as now


@dataclass
class Stretch:
    """Work of one kind with a known end: a run of a job's chain, or the steps of a training."""

    name: str
    total: int
    there: int = 0
    """Of the total, what was done before this command."""
    unit: str = "sentences"
    done: int = 0
    """By this command."""
    counts: Counter[str] = field(default_factory=Counter)
    """Rows done by status."""
    stages: Counter[str] = field(default_factory=Counter)
    """Seconds by stage for the rows done, over all actors."""
    figures: dict[str, float] = field(default_factory=dict)
    """Newest figures of a training, such as its loss."""
    began: float = field(default_factory=lambda: now())
    last: float | None = None
    """When something was done last."""
    over: bool = False

    @property
    def rate(self) -> float | None:
        """Done per second, from the beginning until something was done last; None before that."""
        if self.last is None or self.last <= self.began:
            return None
        return self.done / (self.last - self.began)

    def left(self, moment: float) -> float | None:
        """Seconds from a moment until the end at the rate so far; None while nothing is known."""
        rate = self.rate
        if not rate or self.last is None:
            return None
        return max(0.0, (self.total - self.there - self.done) / rate - (moment - self.last))


class Progress:
    """What a command does now, and how far each stretch of its work has come. For several threads."""

    def __init__(self) -> None:
        self.title = ""
        """Which of several jobs, where a command has several."""
        self.doing = "starting"
        self.planned: tuple[str, ...] = ()
        """Names of all stretches, those to come too."""
        self.stretches: list[Stretch] = []
        self.began = now()
        self.on_begun: Callable[[], None] = lambda: None
        """Called when the first thing is about to be written into the output."""
        self.keeps_chatter = False
        """Whether what Ray's workers print is wanted."""
        self._lock = threading.Lock()

    def job(self, title: str) -> None:
        """One of several jobs begins."""
        with self._lock:
            self.title, self.planned, self.stretches = title, (), []

    def does(self, what: str) -> None:
        with self._lock:
            self.doing = what

    def plan(self, names: Sequence[str]) -> None:
        with self._lock:
            self.planned, self.stretches = tuple(names), []

    def begin(self, name: str, total: int, there: int = 0, unit: str = "sentences") -> None:
        """A stretch begins; the one before is over."""
        with self._lock:
            self._end()
            self.stretches.append(Stretch(name, total, there, unit))

    def add(
        self, done: int, counts: Mapping[str, int] = {}, stages: Mapping[str, float] = {}
    ) -> None:
        """So much more of the stretch is done."""
        with self._lock:
            if not self.stretches:
                # Nobody's, which another thread just planned anew.
                return
            stretch = self.stretches[-1]
            stretch.done += done
            stretch.counts.update(counts)
            stretch.stages.update(stages)
            stretch.last = now()

    def reach(self, done: int, figures: Mapping[str, float]) -> None:
        """So much of the stretch is done, with these figures.

        What was done by the first call may have been there, and says nothing about the rate.
        """
        with self._lock:
            stretch, moment = self.stretches[-1], now()
            if stretch.last is None:
                stretch.there, stretch.began = done, moment
            if stretch.last is None or done > stretch.there + stretch.done:
                stretch.last = moment
            stretch.done, stretch.figures = done - stretch.there, dict(figures)

    def end(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self.stretches:
            self.stretches[-1].over = True

    def seen(self) -> tuple[str, str, tuple[str, ...], list[Stretch]]:
        """Title, doing, planned and stretches at one moment."""
        with self._lock:
            return self.title, self.doing, self.planned, copy.deepcopy(self.stretches)


_NOBODYS = Progress()
_CURRENT: ContextVar[Progress | None] = ContextVar("projner_progress", default=None)


def current() -> Progress:
    """The progress that is watched, or else one that nobody looks at."""
    return _CURRENT.get() or _NOBODYS


def is_watched() -> bool:
    """Whether anybody looks at what `current` is told."""
    return _CURRENT.get() is not None


@contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """Have `progress` be the current one."""
    token = _CURRENT.set(progress)
    try:
        yield
    finally:
        _CURRENT.reset(token)
