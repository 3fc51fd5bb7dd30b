"""Functions compiled to machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`function` compiled by numba when it is first called, free of the global lock.

    The machine code is kept for later processes, beside the source or in the user's cache, if
    either can be written to. It is made anew when the function's own file changes: touch that one
    when a constant changes that it takes from another. Division by zero gives infinity, as in numpy.
    """
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        made: F = njit(cache=True, **settings)(function)
    except RuntimeError:  # No folder for the cache.
        made = njit(**settings)(function)
    return made
