"""What `projner doctor` finds, and what it makes of what is missing."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from projner import cli
from projner.errors import JobError
from projner.start import doctor
from tests.conftest import ROOT

DEVELOPERS = {"dev", "docs", "lint", "peers", "test"}


def declared() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    return set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE))


def test_every_extra_of_users_is_explained() -> None:
    assert set(doctor.GIVES) | DEVELOPERS == declared() | DEVELOPERS


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have some packages not be installed."""
    version = metadata.version

    def there(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.metadata, "version", there)


def test_a_missing_extra_comes_with_the_line_that_installs_it(
    ray_session: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    without(monkeypatch, "datasets", "safetensors")
    assert cli.main(["doctor", "--output", str(tmp_path / "not" / "there")]) == 0
    lines = capsys.readouterr().out.splitlines()
    (hub,) = (line for line in lines if line.split()[:2] == ["missing", "hub"])
    assert hub.endswith(": pip install 'projner[hub]'")
    # What is there only in part is told apart.
    (models,) = (line for line in lines if line.split()[:2] == ["missing", "models"])
    assert "(no safetensors)" in models
    assert any(line.startswith("ok      ray ") and "a task ran" in line for line in lines)
    assert not (tmp_path / "not").exists()
    assert cli.main(["doctor", "--need", "hub", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is False
    (hub,) = (each for each in found["findings"] if each["about"] == "hub")
    assert (hub["state"], hub["mend"]) == ("wrong", "pip install 'projner[hub]'")


def test_what_nothing_works_without(
    ray_session: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(monkeypatch, "pyarrow", "torch")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5e8}))
    (tmp_path / "file").write_text("")
    found = {each.about: each for each in doctor.examine(str(tmp_path / "file"))}
    wrong = {name for name, each in found.items() if each.state == "wrong"}
    assert wrong == {"base", "output", "cache"}
    assert "no pyarrow" in found["base"].says
    assert "cannot be written" in found["output"].says
    assert found["cache"].mend == "make room"
    assert "pip install torch, for a CPU or your CUDA" in str(found["models"].mend)


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("pyarrow>=17", []),
        ("pyarrow>=9000", ["pyarrow "]),
        ("no-such-package", ["no no-such-package"]),
    ],
)
def test_versions_count(text: str, lacking: list[str]) -> None:
    found = doctor._lacking([Requirement(text)])
    assert [each[: len(want)] for each, want in zip(found, lacking, strict=True)] == lacking


def test_extras_of_extras_are_looked_at() -> None:
    given = [
        Requirement(text)
        for text in (
            "base",
            "projner[inner]; extra == 'outer'",
            "a; extra == 'outer'",
            "b; extra == 'inner'",
            "c; extra == 'inner' and python_version < '3'",
        )
    ]
    assert [each.name for each in doctor._of_extra("outer", given)] == ["b", "a"]


def test_an_extra_that_there_is_not() -> None:
    with pytest.raises(JobError, match="--need modles: no such extra; choose among models"):
        list(doctor.examine(needed=["modles"]))
