"""These tests run stages in vLLM's environment, which `make test-vllm` builds and names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from projner import environments
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1

if TYPE_CHECKING:
    from projner.demo.models import Served


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """The Python of the environment."""
    python = os.environ.get("PROJNER_VLLM")
    if not python:
        pytest.skip("needs vLLM's environment of 4 GB; `make test-vllm` builds it and runs these")
    environments.check(python, ["vllm"])
    return python


@pytest.fixture(scope="session")
def served(vllm_python: str) -> Served:
    """The toy models for vLLM, trained if this machine's cache does not have them."""
    from projner.demo import models

    return models.served()


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`eng` and `swh`: the words of the demo's test sentences, one sentence a line."""
    folder = tmp_path_factory.mktemp("plain")
    for side in ("eng", "swh"):
        sentences = f1.read_labelled(str(CORPUS / f"test.{side}.conll")).tokens
        text = "".join(f"{' '.join(words)}\n" for words in sentences)
        (folder / side).write_text(text, encoding="utf-8")
    return folder
