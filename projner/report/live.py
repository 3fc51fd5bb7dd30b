"""A running command as a person sees it: a live view on a terminal, a line a minute in a job's log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TextIO

from projner.meanwhile import meanwhile
from projner.progress import Progress, Stretch, watched
from projner.report.chatter import Chatter

if TYPE_CHECKING:
    from rich.console import RenderableType

View = Literal["person", "json", "none"]
EVERY = 60.0
"""Seconds between two lines of a log."""


@contextmanager
def shown(output: str, view: View, every: float = EVERY) -> Iterator[Chatter]:
    """Show what runs in here, and keep what libraries print in a log file in `output`.

    For a person: on a terminal a view that is there until the end, elsewhere a line now and then. For
    a machine: the same as a line of JSON. Both on standard error, which results are none of.
    """
    progress, chatter = Progress(), Chatter(output)
    progress.on_begun = chatter.begin
    with chatter.capture() as terminal:
        progress.keeps_chatter = terminal is not None
        stream: TextIO = terminal or sys.stderr
        with watched(progress):
            if view == "none":
                yield chatter
            elif view == "person" and stream.isatty():
                with _live(progress, stream):
                    yield chatter
            else:
                with _lines(progress, stream, view, every):
                    yield chatter


@contextmanager
def _live(progress: Progress, stream: TextIO) -> Iterator[None]:
    from rich.console import Console
    from rich.live import Live

    live = Live(
        console=Console(file=stream),
        get_renderable=lambda: picture(progress, time.monotonic()),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live:
        yield


@contextmanager
def _lines(progress: Progress, stream: TextIO, view: View, every: float) -> Iterator[None]:
    def tell() -> None:
        now = time.monotonic()
        text = json.dumps(as_json(progress, now)) if view == "json" else line(progress, now)
        print(text, file=stream, flush=True)

    with meanwhile(tell, every, "projner-progress"):
        yield


def line(progress: Progress, now: float) -> str:
    """Everything in one line, such as
    `projner: 2/3 align: 4,096 of 50,000 sentences (8%), 103/s, 7 min left; ok 4,090, too_long 6`."""
    title, doing, planned, stretches = progress.seen()
    begins = f"projner: {title}: " if title else "projner: "
    if not _open(stretches) or stretches[-1].last is None:
        since = f"{begins}{doing} ({duration(now - progress.began)} so far)"
        return f"{since}; next: {_which(planned, stretches)}" if _open(stretches) else since
    stretch = stretches[-1]
    reached = stretch.there + stretch.done
    parts = [
        f"{_which(planned, stretches)}: {reached:,} of {stretch.total:,} {stretch.unit} "
        f"({share(stretch):.0%})",
        *([speed(stretch.rate)] if stretch.rate else []),
        *_left(stretch, now),
    ]
    told = _told(stretch)
    return f"{begins}{', '.join(parts)}{'; ' if told else ''}{told}"


def as_json(progress: Progress, now: float) -> dict[str, Any]:
    """The same as JSON values."""
    title, doing, planned, stretches = progress.seen()
    return {
        "job": title or None,
        "doing": doing,
        "planned": list(planned),
        "stretches": [
            {
                "name": each.name,
                "unit": each.unit,
                "total": each.total,
                "there": each.there,
                "done": each.done,
                "per_second": each.rate,
                "seconds_left": None if each.over else each.left(now),
                "statuses": dict(each.counts),
                "stage_seconds": {name: round(value, 3) for name, value in each.stages.items()},
                **({"figures": each.figures} if each.figures else {}),
            }
            for each in stretches
        ],
    }


def picture(progress: Progress, now: float) -> RenderableType:
    """Everything as lines with bars: what a terminal shows."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    title, doing, planned, stretches = progress.seen()
    head = f"{title}: {doing}" if title else doing
    lines: list[RenderableType] = [Text(f"projner  {head}  {duration(now - progress.began)}")]
    grid = Table.grid(padding=(0, 2))
    for each in stretches:
        reached = each.there + each.done
        grid.add_row(
            Text(each.name, no_wrap=True, overflow="ellipsis"),
            ProgressBar(total=max(each.total, 1), completed=reached, width=24),
            Text(f"{reached:,}/{each.total:,}", no_wrap=True),
            Text(speed(each.rate) if each.rate else "", no_wrap=True),
            Text("done" if each.over else "".join(_left(each, now)), no_wrap=True),
        )
    for name in planned[len(stretches) :]:
        grid.add_row(Text(name, style="dim", no_wrap=True, overflow="ellipsis"))
    lines.append(grid)
    if _open(stretches) and (told := _told(stretches[-1])):
        lines.append(Text(told))
    if _open(stretches) and (where := _where(stretches[-1])):
        lines.append(Text(where, style="dim"))
    return Group(*lines)


def _open(stretches: list[Stretch]) -> bool:
    return bool(stretches) and not stretches[-1].over


def _which(planned: tuple[str, ...], stretches: list[Stretch]) -> str:
    name = stretches[-1].name
    return f"{len(stretches)}/{len(planned)} {name}" if len(planned) > 1 else name


def _told(stretch: Stretch) -> str:
    """Rows by status, or the figures of a training."""
    counted = ", ".join(f"{name} {count:,}" for name, count in stretch.counts.most_common())
    figures = ", ".join(f"{name} {value:.4g}" for name, value in stretch.figures.items())
    return counted or figures


def _where(stretch: Stretch) -> str:
    """What the time went into, such as `time in translate 81%, align 19%`."""
    whole = sum(stretch.stages.values())
    parts = [f"{name} {spent / whole:.0%}" for name, spent in stretch.stages.most_common() if whole]
    return f"time in {', '.join(parts)}" if parts else ""


def _left(stretch: Stretch, now: float) -> list[str]:
    left = stretch.left(now)
    return [] if left is None else [f"{duration(left)} left"]


def share(stretch: Stretch) -> float:
    """How much of a stretch is done, from 0 to 1."""
    return min(1.0, (stretch.there + stretch.done) / max(stretch.total, 1))


def speed(rate: float) -> str:
    """Items per second, as a person reads it."""
    return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.2g}/s"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: `45 s`, `12 min`, `3 h 5 min`."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
