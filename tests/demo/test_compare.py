"""The demo's comparison: every method that projner has, on both languages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from projner import methods
from projner.demo import compare
from projner.evaluate import compare as comparing

if TYPE_CHECKING:
    from projner.demo.models import Models


@pytest.mark.slow
def test_every_method_is_in_the_table(
    ray_session: str, demo_models: Models, tmp_path: Path
) -> None:
    files = compare.job_files(str(tmp_path), demo_models)
    # One language and few sentences; `projner demo --compare` has all.
    small = [type(file).read(file.path, ["corpus.limit=12"]) for file in files[:1]]
    found = comparing.compare(small, str(tmp_path))
    assert not found.skipped
    assert [outcome.method for outcome in found.outcomes] == list(methods.NAMED)
    figures = {outcome.method: outcome.f1 for outcome in found.outcomes}
    assert all(figure is not None or "marked" in name for name, figure in figures.items())
    assert figures["default"] > 0.8
    shared = [run for run in found.stretches if len(run.methods) == len(figures)]
    assert {"label", "encoder"} <= {name for run in shared for name in run.name.split("+")}
    assert all(run.computed == 12 for run in found.stretches)
