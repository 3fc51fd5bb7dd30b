"""Plans of real jobs, as a user makes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from projner.cli import main
from projner.demo.write_corpus import CORPUS

if TYPE_CHECKING:
    from projner.demo.models import Models

JobFile = Callable[..., Path]


@pytest.fixture
def demo() -> dict[str, Any]:
    """A job on the demo's sentence pairs, with their labels and links."""
    return {
        "corpus": {
            "format": "bitext",
            "source": "train.eng.conll",
            "target": "train.swh.conll",
            "links": "train.eng-swh.pharaoh",
            "root": str(CORPUS),
            "source_lang": "eng_Latn",
            "target_lang": "swh_Latn",
        }
    }


def planned(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["plan", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_job_without_models(
    demo: dict[str, Any], job_file: JobFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(demo)
    found = planned(capsys, path, "--sentences", "1e9", "--sample", 200)
    assert found["sentences"] == found["rows"] == 10**9
    assert found["sample_rows"] == 200
    (run,) = found["runs"]
    names = ["index", "read", "surface", "match", "write", "publish"]
    assert [step["name"] for step in run["steps"]] == names
    assert all(step["rows_per_second"] > 0 for step in run["steps"])
    assert found["hours"] <= 24
    assert found["gpu_hours"] == 0
    # A row of these sentences, compressed; and of ids, revisions, places in the corpus and shards.
    assert 20 < found["stored_bytes"] / 10**9 < 2000
    assert 20 < found["driver_bytes"] * found["jobs"] / 10**9 < 200
    assert "sample:200" in found["signature"]
    assert "match.1" in found["signature"]
    assert not (path.parent / "out").exists()


def test_gpus_that_nothing_was_measured_on_are_refused(
    demo: dict[str, Any], job_file: JobFile, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(job_file(demo))
    assert main(["plan", path, "--sentences", "10", "--gpus", "2", "--sample", "20"]) == 2
    assert "no model ran on a GPU" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["many", "0", "-1", "inf", "nan", "0.5"])
def test_no_number_is_refused(
    demo: dict[str, Any], job_file: JobFile, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit):
        main(["plan", str(job_file(demo)), f"--sentences={text}"])
    assert text in capsys.readouterr().err


def test_too_small_a_sample_is_refused(
    demo: dict[str, Any], job_file: JobFile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(job_file(demo)), "--sentences", "1e9", "--sample", "5"]) == 2
    assert "a sample of 5 rows tells nothing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_job_with_models(
    demo: dict[str, Any],
    demo_models: Models,
    job_file: JobFile,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = {
        "format": "conll",
        "source": "test.eng.conll",
        "root": str(CORPUS),
        "source_lang": "eng_Latn",
        "target_lang": ["swh_Latn", "hau_Latn"],
    }
    job = {
        "corpus": corpus,
        "translate": {"model": str(demo_models.translator), "beam_size": 1},
        "align": {"engine": "encoder", "model": str(demo_models.encoder), "layer": 2},
    }
    found = planned(
        *(
            capsys,
            job_file(job),
            "--sentences",
            "1e6",
            "--sample",
            20,
            "--set",
            "resources.align.gpus=0",
        )
    )
    assert (found["rows"], found["sample_rows"]) == (2 * 10**6, 40)
    made, projected = found["runs"]
    steps = {step["name"]: step for step in made["steps"]}
    assert list(steps) == ["index", "read", "translate", "encoder", "write", "publish"]
    assert projected["name"] == "project"
    assert "read" in [step["name"] for step in projected["steps"]]
    for name in ("translate", "encoder"):
        assert steps[name]["load_seconds"] > 0
        assert steps[name]["actors"] >= 1
    # The slower has more actors, in proportion.
    slower, faster = sorted(("translate", "encoder"), key=lambda n: steps[n]["rows_per_second"])
    assert steps[slower]["actors"] >= steps[faster]["actors"]
    assert set(found["actors"]) == {"translate", "align"}
