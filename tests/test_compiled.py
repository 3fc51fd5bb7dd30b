from __future__ import annotations

import subprocess
import sys

import pytest

from projner.compiled import compiled


def test_division_by_zero_is_as_in_numpy() -> None:
    divide = compiled(lambda one, other: one / other)
    assert divide(1.0, 0.0) == float("inf")


def test_where_nothing_can_be_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, object] = {}
    exec(compile("def twice(number):\n    return 2 * number", "/nowhere/at/all.py", "exec"), space)
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    twice = compiled(space["twice"])  # type: ignore[type-var]
    assert twice(21) == 42


@pytest.mark.parametrize("module", ["projner", "projner.cli", "projner.methods"])
def test_compiled_code_is_not_loaded_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
