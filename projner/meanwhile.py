"""What is done again and again while something else runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(act: Callable[[], object], every: float, name: str) -> Iterator[None]:
    """Call `act` every `every` seconds, in a thread of that name, until the end of the block.

    The first time after `every` seconds. A call that has begun is waited for at the end.
    """
    done = threading.Event()

    def again() -> None:
        while not done.wait(every):
            act()

    thread = threading.Thread(target=again, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
