"""Where what libraries print goes while a job runs: a log file in the job's output.

Ray, transformers and libraries written in C print whatever they like. File descriptors are turned
round, because nothing less reaches them all.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import BinaryIO, TextIO

from projner import storage


class Chatter:
    """What is printed while `capture` lasts; nothing is written into the output before `begin`."""

    def __init__(self, output: str | os.PathLike[str]):
        moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self._target = storage.at(output) / "logs" / f"{moment}-{os.getpid()}.log"
        self._first: BinaryIO | None = None
        """What was printed before the output was written, or all of it where files cannot grow."""
        self._begun = False
        self._grows = False
        self.location: str | None = None
        """Where the log is, when `capture` is over and there is one."""

    @contextmanager
    def capture(self) -> Iterator[TextIO | None]:
        """Take what this process prints; gives a stream that still reaches the terminal.

        None where the process has no file descriptors of its own to print to, and nothing is taken.
        """
        if not _prints():
            yield None
            return
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
        _flush()
        out, err = os.dup(1), os.dup(2)
        with tempfile.TemporaryFile(buffering=0) as self._first:
            _turn(self._first.fileno())
            try:
                with os.fdopen(os.dup(err), "w", encoding="utf-8", errors="replace") as terminal:
                    yield terminal
            finally:
                _flush()
                for number, kept in ((1, out), (2, err)):
                    os.dup2(kept, number)
                    os.close(kept)
                # The command's own end is more important than its log's.
                with suppress(OSError):
                    self._finish(_content(self._first))

    def begin(self) -> None:
        """The output is about to be written: from now on the log is there, where files can grow."""
        if self._first is None or self._begun:
            return
        self._begun = True
        if isinstance(self._target, storage.Local):
            # Whoever cannot write there is told so by what writes next.
            with suppress(OSError):
                self._target.parent.make()
                log = os.open(self._target, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
                os.write(log, _content(self._first))
                _turn(log)
                os.close(log)
                self._grows = True

    def _finish(self, first: bytes) -> None:
        if self._grows:
            if os.path.getsize(str(self._target)):
                self.location = str(self._target)
            else:
                self._target.remove()
                os.rmdir(str(self._target.parent))
        elif self._begun and first:
            self._target.write(first)
            self.location = str(self._target)


def _turn(descriptor: int) -> None:
    for number in (1, 2):
        os.dup2(descriptor, number)


def _flush() -> None:
    with suppress(ValueError, OSError):
        sys.stdout.flush()
        sys.stderr.flush()


def _prints() -> bool:
    """Whether `sys.stdout` and `sys.stderr` are the file descriptors 1 and 2."""
    try:
        return (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
    except (OSError, ValueError, AttributeError):
        return False


def _content(file: BinaryIO) -> bytes:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
