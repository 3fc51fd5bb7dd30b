"""One writer at a time: a lease on a run, renewed while its owner lives.

Leases are numbered files of which each can be made only once, so a takeover has one winner, on a disk
and in an object store alike: whoever makes number n + 1 owns the run from then on, and the owner of
number n finds out, because the newest number stays.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from projner import storage
from projner.errors import JobError
from projner.meanwhile import meanwhile
from projner.storage import Place

log = logging.getLogger(__name__)

SECONDS_TO_LIVE = 120.0
"""A lease that was not renewed for so long belongs to a dead owner."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lease, or held it."""

    host: str
    pid: int
    started: str
    """What tells the process from a later one with its number, empty where nothing does."""
    job: str
    """The submitted Ray job, if it is one."""
    since: float
    """Seconds since 1970, by the owner's clock."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    released: bool = False

    def __str__(self) -> str:
        return f"job {self.job or self.pid} on {self.host.partition('/')[0]}"


class Lease:
    """The right to write a run. It can be lost: to whoever takes the owner for dead."""

    def __init__(self, folder: Place, number: int, owner: Owner):
        self._folder = folder
        self._number = number
        self._owner = owner
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether another job was seen to have taken over; costs nothing."""
        return self._lost

    def check(self) -> None:
        """Raise JobError when another job has taken over; looks at the store."""
        if self._lost or max(_numbers(self._folder), default=0) != self._number:
            self._lost = True
            raise JobError(
                f"{self._folder.parent}: another job took this one for dead and writes there now; "
                "run the same command again when it has finished"
            )

    def renew(self) -> None:
        """Give a sign of life, unless another job has taken over."""
        self.check()
        (self._folder / _name(self._number)).write(_text(self._owner))

    def release(self) -> None:
        """Let the next one have it at once."""
        self.check()
        # It stays, so that who was taken for dead and wakes up later finds a number after its own.
        (self._folder / _name(self._number)).write(_text(replace(self._owner, released=True)))


@contextmanager
def hold(folder: Place | str | os.PathLike[str], seconds: float | None = None) -> Iterator[Lease]:
    """Be the only writer of the run in `folder` while the block runs.

    `seconds` without a sign of life make an owner a dead one; `SECONDS_TO_LIVE` by default.

    Raises JobError naming the owner when somebody alive holds the lease.
    """
    seconds = SECONDS_TO_LIVE if seconds is None else seconds
    leases = storage.at(folder) / "lease"
    leases.make()
    lease = _take(leases, _myself(), seconds)
    try:
        with meanwhile(partial(_keep, lease), seconds / 4, "lease"):
            yield lease
    finally:
        if not lease.lost:
            _quietly(lease.release)


def _take(leases: Place, owner: Owner, seconds: float) -> Lease:
    while True:
        numbers = _numbers(leases)
        newest = max(numbers, default=0)
        if newest:
            _refuse_living(leases, newest, seconds)
        if (leases / _name(newest + 1)).create(_text(owner)):
            for number in numbers:
                (leases / _name(number)).remove()
            return Lease(leases, newest + 1, owner)


def _refuse_living(leases: Place, number: int, seconds: float) -> None:
    """Raise JobError when the owner of lease `number` lives, or may live."""
    place = leases / _name(number)
    try:
        holder, renewed = _owner(place), place.modified()
    except FileNotFoundError:
        return
    if holder is not None and (holder.released or _died_here(holder)):
        return
    age = leases.now() - renewed
    if age >= seconds:
        log.warning("%s: the lease of %s has expired; taking it over", leases.parent, holder)
        return
    since = time.time() - holder.since if holder else age
    raise JobError(
        f"{leases.parent}: {holder or 'another job'} has been writing here for {since:.0f} s (last "
        f"sign {max(0, age):.0f} s ago); wait for it, or try again in {seconds - age:.0f} s if it is "
        "dead"
    )


def _keep(lease: Lease) -> None:
    if not lease.lost:
        _quietly(lease.renew)


def _quietly(call: object) -> None:
    """What keeps a lease may fail now and then; who relies on it calls `check`."""
    assert callable(call)
    try:
        call()
    except (OSError, JobError) as error:
        log.warning("lease: %s", error)


def _myself() -> Owner:
    job = os.environ.get("RAY_JOB_SUBMISSION_ID", "")
    return Owner(_machine(), os.getpid(), _started(os.getpid()), job, time.time())


def _machine() -> str:
    """This machine as process numbers see it: two containers on a host may share its name."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass
    return "/".join(parts)


def _started(pid: int) -> str:
    """When a living process of this machine began, in the system's own count; empty where nothing
    tells."""
    try:
        # The process's name, which may hold anything, ends at the last parenthesis.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state[0] == "Z" else state[19]
    except (OSError, IndexError):
        return ""


def _died_here(holder: Owner) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    if holder.host != _machine():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _started(holder.pid) != holder.started


def _numbers(leases: Place) -> list[int]:
    return [
        int(name.partition(".")[0]) for name in leases.files() if name.partition(".")[0].isdigit()
    ]


def _name(number: int) -> str:
    return f"{number:06}.json"


def _text(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()


def _owner(place: Place) -> Owner | None:
    """Who wrote a lease; None where its content is none."""
    try:
        return Owner(**json.loads(place.read()))
    except (ValueError, TypeError):
        return None
