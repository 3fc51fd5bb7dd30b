"""Fitting confidences, and measuring how they hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from projner import config, methods
from projner.evaluate import calibration
from projner.evaluate.calibration import Samples
from projner.project import confidence
from tests.conftest import ROOT


def drawn(seed: int, count: int, weights: np.ndarray) -> Samples:
    """Projections that are right as often as some weights say."""
    chance = np.random.default_rng(seed)
    known = np.column_stack([np.ones(count), chance.normal(size=(count, len(weights) - 1))])
    return Samples(
        known, (chance.random(count) < 1 / (1 + np.exp(-(known @ weights)))).astype(float)
    )


def test_what_was_drawn_is_found_again() -> None:
    weights = np.array([0.5, 2.0, -1.0])
    found = calibration.fit([drawn(1, 20_000, weights), drawn(2, 5_000, weights)])
    assert found == pytest.approx(weights, abs=0.1)
    other = drawn(3, 20_000, weights)
    held = calibration.quality(confidence.probabilities(other.features, found), other.right)
    assert held.ece < 0.02
    assert held.brier < 0.75 * held.brier_constant


def test_the_figures() -> None:
    found = calibration.quality(np.array([0.95, 0.95, 0.15, 1.0]), np.array([1.0, 0, 0, 1]))
    assert (found.projections, found.precision) == (4, 0.5)
    assert found.confidence == pytest.approx(3.05 / 4)
    # In the bin of 0.9 and more 2.9 for 2, in that of 0.1 0.15 for 0.
    assert found.ece == pytest.approx((0.9 + 0.15) / 4)
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 0.15**2) / 4)
    assert found.brier_constant == 0.25


def test_all_together() -> None:
    weights = np.array([0.5, 2.0])
    both = calibration.joined([drawn(1, 3, weights), drawn(2, 4, weights)])
    assert both.features.shape == (7, 2)
    assert both.right.shape == (7,)


@pytest.mark.parametrize("method", ["default", "heuristic"])
def test_confidences_hold_on_sentences_that_they_were_not_fitted_to(
    shared_data: Path, method: str
) -> None:
    name = "absa-es-simalign"
    job = config.load(ROOT / "jobs" / "benchmarks" / f"{name}.yaml", [f"corpus.root={shared_data}"])
    project = methods.named(method)
    found = calibration.samples(job, project)
    weights = confidence.coefficients(project)
    assert weights is not None
    held = calibration.quality(confidence.probabilities(found.features, weights), found.right)
    assert held.projections > 500
    assert held.ece < 0.08
    assert held.brier < held.brier_constant


@pytest.mark.slow
def test_the_coefficients_are_what_the_script_makes(shared_data: Path, tmp_path: Path) -> None:
    made = tmp_path / "confidence.json"
    script = [sys.executable, str(ROOT / "jobs" / "calibrate.py"), str(shared_data)]
    done = subprocess.run(
        [*script, "--write", str(made)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "evidence all" in done.stdout
    stored, again = (json.loads(file.read_text("utf-8")) for file in (confidence.FILE, made))
    assert again.keys() == stored.keys()
    for kind, weights in stored.items():
        assert again[kind] == pytest.approx(weights, abs=1e-3)
