"""One writer at a time: a lease on a run, renewed while its owner lives."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from projner.errors import JobError

log = logging.getLogger(__name__)

SECONDS_TO_LIVE = 120.0
"""A lease that was not renewed for so long belongs to a dead owner."""


@contextmanager
def hold(folder: Path, seconds_to_live: float = SECONDS_TO_LIVE) -> Iterator[None]:
    """Be the only writer in `folder` while the block runs.

    Raises JobError naming the owner when somebody alive holds the lease.
    """
    path = folder / "lease.json"
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": os.environ.get("RAY_JOB_SUBMISSION_ID", ""),
        "token": uuid.uuid4().hex,
        "since": time.time(),
    }
    _take(path, owner, seconds_to_live)
    done = threading.Event()
    beat = threading.Thread(
        target=_renew, args=(path, done, seconds_to_live / 4), name="lease", daemon=True
    )
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        if _owner(path).get("token") == owner["token"]:
            path.unlink(missing_ok=True)


def _take(path: Path, owner: dict[str, object], seconds_to_live: float) -> None:
    for _ in range(2):
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(owner, file)
            return
        except FileExistsError:
            _expire(path, seconds_to_live)
    raise JobError(f"{path}: another job took the lease just now; wait for it to finish")


def _expire(path: Path, seconds_to_live: float) -> None:
    """Move a dead owner's lease out of the way; raise JobError when the owner is alive."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return
    holder = _owner(path)
    if age < seconds_to_live and not _died_here(holder):
        since = time.time() - float(str(holder.get("since", time.time())))
        raise JobError(
            f"{path.parent}: job {holder.get('job') or holder.get('pid')} on {holder.get('host')} has "
            f"been writing here for {since:.0f} s (last sign {age:.0f} s ago); wait for it, or try "
            f"again in {seconds_to_live - age:.0f} s if it is dead"
        )
    log.warning("%s: the owner's lease has expired; taking it over", path)
    # A rename succeeds for one taker only.
    with suppress(FileNotFoundError):
        stale = path.with_name(f".lease.{uuid.uuid4().hex}")
        path.rename(stale)
        stale.unlink()


def _died_here(holder: dict[str, object]) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    if holder.get("host") != socket.gethostname() or not isinstance(holder.get("pid"), int):
        return False
    try:
        os.kill(int(str(holder["pid"])), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _renew(path: Path, done: threading.Event, seconds: float) -> None:
    while not done.wait(seconds):
        with suppress(FileNotFoundError):
            os.utime(path)


def _owner(path: Path) -> dict[str, object]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
