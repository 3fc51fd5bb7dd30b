"""Pools of actors on a real Ray: every actor works, and what becomes of those that die."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import yaml

from projner import cli, config, methods, pipeline, record
from projner.demo.models import Models
from projner.errors import JobError
from projner.stage import Stage
from tests.conftest import Pair

Bitext = Callable[..., dict[str, Any]]
Row = dict[str, Any]

pytestmark = pytest.mark.usefixtures("ray_session")

ROWS = 800
PAIRS = [
    Pair(f"Ada{n} met Eva .", f"Ada{n} alikutana Eva .", "0-0 1-1 2-2 3-3") for n in range(ROWS)
]


class Labels(Stage):
    """Labels every sentence's first word with the process that did it."""

    name: ClassVar[str] = "labels"
    room: ClassVar[str | None] = "label"
    inputs = ("source_tokens",)
    outputs = ("source_entities",)

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        entity = {"start": 0, "end": 1, "label": str(os.getpid()), "score": 1.0}
        return record.with_column(table, "source_entities", [[entity]] * table.num_rows)


def unlabelled(bitext: Bitext, rows: int = ROWS) -> dict[str, Any]:
    job = bitext(PAIRS[:rows])
    folder = Path(job["corpus"]["root"])
    lines = "".join(pair.source + "\n" for pair in PAIRS[:rows])
    (folder / "source.txt").write_text(lines, encoding="utf-8")
    job["corpus"]["source"] = "source.txt"
    return job


def worked(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *steps: Stage) -> list[Row]:
    """The rows of a job whose preparation are these stages, in corpus order, none lost or doubled."""
    monkeypatch.setattr(methods, "preparation", lambda *_: [*steps])
    result = pipeline.project(config.build(job))
    rows = result.run.read(result.snapshot).to_pylist()
    assert [row["source_tokens"][0] for row in rows] == [f"Ada{n}" for n in range(len(rows))]
    assert len({row["id"] for row in rows}) == len(rows)
    return rows


def labels(rows: list[Row]) -> set[str]:
    return {entity["label"] for row in rows for entity in row["source_entities"]}


class Meets(Labels):
    """Works once there are three of it, however long the last one takes to start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, table: pa.Table) -> pa.Table:
        (self._folder / str(os.getpid())).touch()
        patience = time.monotonic() + 60
        while len([*self._folder.iterdir()]) < 3 and time.monotonic() < patience:
            time.sleep(0.05)
        return super().__call__(table)


def test_every_actor_of_a_pool_works(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = {**unlabelled(bitext), "resources": {"label": {"actors": 3}}}
    (tmp_path / "there").mkdir()
    rows = worked(job, monkeypatch, Meets(tmp_path / "there"))
    assert len(rows) == ROWS
    assert len(labels(rows)) == 3


def test_a_pool_grows_when_there_is_work(bitext: Bitext, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Labels):
        def __call__(self, table: pa.Table) -> pa.Table:
            time.sleep(1)
            return super().__call__(table)

    job = {**unlabelled(bitext), "resources": {"label": {"actors": [1, 3]}}}
    rows = worked(job, monkeypatch, Slow())
    assert 1 < len(labels(rows)) <= 3


class Dies(Labels):
    """Dies as a process that is killed does: while it loads, or at its third batch; once or always."""

    def __init__(self, flag: Path, when: str, always: bool = False) -> None:
        self._flag, self._when, self._always = flag, when, always
        self._batches = 0

    def setup(self, cpus: float | None = None) -> None:
        if self._when == "loading":
            self._die()

    def __call__(self, table: pa.Table) -> pa.Table:
        self._batches += 1
        if self._when == "working" and self._batches == 2:
            self._die()
        return super().__call__(table)

    def _die(self) -> None:
        if self._always or not self._flag.exists():
            with self._flag.open("a") as file:
                file.write(f"{os.getpid()}\n")
            os._exit(1)


@pytest.mark.parametrize("when", ["loading", "working"])
@pytest.mark.parametrize("actors", [1, 2])
def test_an_actor_that_dies_costs_no_row(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str, actors: int
) -> None:
    job = {**unlabelled(bitext), "resources": {"label": {"actors": actors}}}
    flag = tmp_path / "died"
    rows = worked(job, monkeypatch, Dies(flag, when))
    (dead,) = flag.read_text().split()
    assert len(rows) == ROWS
    assert {row["status"] for row in rows} == {"ok"}
    assert labels(rows) - {dead}


def test_actors_that_never_load_stop_the_job(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(
        JobError, match=r"^labels: the processes that load the model die; give them"
    ) as why:
        worked(unlabelled(bitext), monkeypatch, Dies(tmp_path / "died", "loading", always=True))
    assert "\n" not in str(why.value)
    assert len((tmp_path / "died").read_text().split()) == 4
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_a_model_that_is_refused_stops_the_job_at_once(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Refused(Labels):
        def setup(self, cpus: float | None = None) -> None:
            with (tmp_path / "loaded").open("a") as file:
                file.write(".")
            raise JobError("m: no such folder")

    with pytest.raises(JobError, match=r"^m: no such folder$"):
        worked(unlabelled(bitext), monkeypatch, Refused())
    assert (tmp_path / "loaded").read_text() == "."
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.slow
def test_a_row_that_kills_costs_only_itself(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kills(Labels):
        def __call__(self, table: pa.Table) -> pa.Table:
            if ["Ada6", "met", "Eva", "."] in table["source_tokens"].to_pylist():
                os._exit(1)
            return super().__call__(table)

    job = {**unlabelled(bitext, 10), "resources": {"batch_rows": 2}}
    rows = worked(job, monkeypatch, Kills())
    assert [row["status"] for row in rows] == ["ok"] * 6 + ["error"] + ["ok"] * 3
    assert rows[6]["status_detail"] == "labels: 3 processes died on this row"
    assert rows[6]["source_entities"] is None


def test_an_error_that_is_no_users_is_told_too(
    bitext: Bitext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Labels):
        def setup(self, cpus: float | None = None) -> None:
            raise RuntimeError("CUDA error: no kernel image")

    with pytest.raises(JobError, match=r"cannot be loaded: RuntimeError: CUDA error: no kernel"):
        worked(unlabelled(bitext), monkeypatch, Broken())


# As a user meets it, with a real model.


@pytest.fixture
def tagged(
    bitext: Bitext, job_file: Callable[..., Path], demo_models: Models
) -> Callable[..., tuple[int, list[str]]]:
    """Runs a job that labels by the toy tagger; `tagged("label.key=value", ...)` gives the exit code."""

    def run(*changes: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
        job = {**unlabelled(bitext, 20), "label": {"model": str(demo_models.tagger)}}
        settings = [part for change in changes for part in ("--set", change)]
        code = cli.main(["project", str(job_file(job)), *settings])
        captured = capsys.readouterr()
        return code, captured.err.splitlines()

    return run


def test_a_plan_that_does_not_fit_is_refused_in_a_line(
    tagged: Callable[..., tuple[int, list[str]]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    code, (line,) = tagged("resources.label.cpus=9", capsys=capsys)
    assert code == 2
    assert line == (
        "projner: resources: the actors (label 1) and one task do not fit together on a cluster of "
        "2 CPUs and 0 GPUs; ask for fewer actors, or fewer cpus and gpus each"
    )
    assert not (tmp_path / "out").exists()


def test_a_broken_checkpoint_is_refused_in_a_line(
    tagged: Callable[..., tuple[int, list[str]]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    demo_models: Models,
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(demo_models.tagger, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    code, (line,) = tagged(f"label.model={broken}", capsys=capsys)
    assert code == 2
    assert line.startswith(f"projner: {broken}: cannot be loaded: ")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_what_auto_means_is_written_down(
    tagged: Callable[..., tuple[int, list[str]]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    code, lines = tagged("resources.label.gpus=0", capsys=capsys)
    assert (code, lines) == (0, [])
    (settings,) = (
        stages[0][1]
        for path in (tmp_path / "out").rglob("job.yaml")
        if (stages := yaml.safe_load(path.read_text())["stages"])[0][0].startswith("label")
    )
    assert settings["dtype"] == "float32"
    assert "device" not in settings
