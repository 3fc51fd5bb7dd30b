from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projner import config, environments, pipeline, versions
from projner.demo.models import Models
from projner.errors import JobError

HERE = {
    "python": "3.12",
    "projner": "0.1.0",
    "ray": "2.60.0",
    "pyarrow": "26.0.1",
    "vllm": "0.32.0",
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"python": "3.11"}, "is Python 3.11, and this job runs on 3.12"),
        (
            {"ray": "2.59.0"},
            "has ray 2.59.0, and this job runs on 2.60.0; pip install ray==2.60.0 there",
        ),
        ({"pyarrow": None}, "has no pyarrow; pip install pyarrow==26.0.1 there"),
        ({"projner": None}, "has no projner; pip install projner there"),
        ({"vllm": None}, "has no vllm; pip install 'projner[vllm]' there"),
        ({}, None),
        ({"vllm": "unknown"}, None),
    ],
)
def test_what_differs_is_said(change: dict[str, str | None], problem: str | None) -> None:
    found = environments.difference({**HERE, **change}, HERE, ["vllm"])
    assert found == problem or (problem and found and found.startswith(problem))


def test_this_python_suits_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(environments.__file__).parents[1]))
    environments.check(sys.executable, ["numpy"])
    with pytest.raises(JobError, match="has no a_module; pip install"):
        environments.check(sys.executable, ["a_module"])
    with pytest.raises(JobError, match="no such Python on"):
        environments.check(str(tmp_path / "python"))
    with pytest.raises(JobError, match="is a folder; name the Python in it"):
        environments.check(str(tmp_path))
    (tmp_path / "false").symlink_to("/bin/false")
    with pytest.raises(JobError, match="is no Python that runs"):
        environments.check(str(tmp_path / "false"))


def test_a_python_without_projner_says_so(tmp_path: Path) -> None:
    # Isolated: it has the standard library alone.
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    script.chmod(0o755)
    with pytest.raises(JobError, match=r"/python: has no projner; pip install projner there$"):
        environments.check(str(script))


def test_versions_are_those_of_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    import ray

    found: dict[str, Any] = versions.versions(["json", "no_such_module"])
    assert found["pyarrow"] == pyarrow.__version__
    assert found["ray"] == ray.__version__
    assert found["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (found["json"], found["no_such_module"]) == ("unknown", None)


def test_a_job_asks_before_it_begins(
    ray_session: str, bitext: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    section = {"engine": "vllm", "model": "nowhere", "environment": sys.executable}
    job = {**bitext(), "label": section, "project": {"method": "transfer"}}
    with pytest.raises(JobError, match="has no vllm; pip install") as raised:
        pipeline.project(config.build(job))
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_actors_run_in_the_environment(
    ray_session: str, demo_models: Models, bitext: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho $$ >> {tmp_path}/called\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    found = []
    for environment in (None, str(python)):
        section = {"model": str(demo_models.tagger), "environment": environment}
        job = {**bitext(), "label": section, "project": {"method": "transfer"}}
        job["output"] = str(tmp_path / f"out-{bool(environment)}")
        result = pipeline.project(config.build(job))
        found.append((result.run.folder.name, result.run.read(result.snapshot)))
        # The check and the actor; nothing else.
        called = tmp_path / "called"
        assert len(called.read_text().split() if called.exists() else []) == 2 * bool(environment)
    assert found[0] == found[1]
