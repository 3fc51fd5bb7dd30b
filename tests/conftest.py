"""Fixtures shared by every test."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real corpora that developers and CI have beside the project; users do not."""
    if not SHARED.is_dir():
        pytest.skip("needs the developers' data folder (../shared/data), which is not here")
    return SHARED
