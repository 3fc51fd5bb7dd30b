"""Job files that `projner init` writes, and what `projner validate` says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from projner import checkpoints, cli, config, methods, pipeline
from projner.errors import JobError
from tests.conftest import PAIRS, conll, plain

if TYPE_CHECKING:
    from projner.demo.models import Models

Bitext = Callable[..., dict[str, Any]]
JobFile = Callable[..., Path]
LANGS = ["--source-lang", "eng", "--target-lang", "Swahili"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that commands run in, with a corpus in every form."""
    monkeypatch.chdir(tmp_path)
    sources, targets = [pair.source for pair in PAIRS], [pair.target for pair in PAIRS]
    Path("en.conll").write_text(conll(sources))
    for name, side in (("en.txt", sources), ("sw.txt", targets)):
        Path(name).write_text("".join(f"{plain(text)}\n" for text in side))
    Path("links").write_text("".join(f"{pair.links}\n" for pair in PAIRS))
    records = [{"target_text": plain(text)} for text in targets]
    Path("sw.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in records))
    return tmp_path


CASES: dict[str, tuple[list[str], dict[str, Any], set[str]]] = {
    "bitext with everything": (
        ["bitext", *LANGS, "--source", "en.conll", "--target", "sw.txt", "--links", "links"],
        {"format": "bitext", "links": "links", "target_lang": "swh_Latn"},
        set(),
    ),
    "bitext": (
        ["bitext", *LANGS, "--source", "en.txt", "--target", "sw.txt", "--aligner", "eflomal"],
        {"format": "bitext"},
        {"label", "align"},
    ),
    "translate-test": (
        ["translate-test", *LANGS, "--target", "sw.txt"],
        {"format": "text", "target": "sw.txt"},
        {"translate", "label", "align"},
    ),
    "translate-test of records": (
        ["translate-test", *LANGS, "--target", "sw.jsonl"],
        {"format": "jsonl", "path": "sw.jsonl"},
        {"translate", "label", "align"},
    ),
    "translate-train": (
        ["translate-train", *LANGS[:3], "swh,hau", "--source", "en.conll"],
        {"format": "conll", "target_lang": ["swh_Latn", "hau_Latn"]},
        {"translate", "align"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_job_that_can_be_read(name: str, here: Path) -> None:
    arguments, corpus, sections = CASES[name]
    assert cli.main(["init", *arguments[:1], "job.yaml", *arguments[1:]]) == 0
    written = yaml.safe_load(Path("job.yaml").read_text())
    assert corpus.items() <= written["corpus"].items()
    assert set(written) - {"corpus", "project", "output"} == sections
    pipeline.index_of(config.load("job.yaml"))
    # Comments make it worth having.
    assert sum("#" in line for line in Path("job.yaml").read_text().splitlines()) > 6


@pytest.mark.parametrize("method", methods.NAMED)
def test_every_method_finds_the_models_that_it_asks_for(
    method: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise JobError("the hub is away")

    monkeypatch.setattr(checkpoints, "load_config", away)
    project = methods.NAMED[method]
    direction = "translate-train" if project.method == "marked" else "bitext"
    side = ["--target", "sw.txt"] if direction == "bitext" else []
    files = [*LANGS, "--source", "en.conll", *side, "--method", method]
    assert cli.main(["init", direction, "job.yaml", *files]) == 0
    job = config.load("job.yaml")
    said = project.model_dump(exclude_unset=True)
    assert job.project == config.Project.model_validate(said)
    # Models are looked at later; that none is named is found before.
    said_no = ""
    try:
        methods.projection_stages(job.project, job)
    except JobError as error:
        said_no = str(error)
    assert "name one under" not in said_no


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bitext", "--source", "en.txt"], "bitext needs --target FILE"),
        (["translate-test", "--source", "en.txt"], "translate-test needs --target FILE"),
        (
            ["translate-train", "--source", "en.conll", "--links", "links"],
            "translate-train takes no --links; for both sides, use bitext",
        ),
        (["translate-test", "--target", "sw.tx"], "sw.tx: no such file; mend corpus.target"),
        (["bitext", "--source", "en.txt", "--target", "sw.txt", "--method", "x"], "unknown method"),
        (
            ["bitext", "--source", "en.txt", "--target", "sw.txt", "--method", "easyproject"],
            "method easyproject makes a target side, so it needs translate-train",
        ),
        (
            ["translate-train", "--source", "en.conll", "--method", "back_translation"],
            "method back_translation labels a target side that is there; use bitext",
        ),
        (["translate-train", "--source", "sw.jsonl"], "--source: no field of the records is"),
    ],
)
def test_what_does_not_go_together(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", arguments[0], "job.yaml", *LANGS, *arguments[1:]]) == 2
    assert message in capsys.readouterr().err
    assert not Path("job.yaml").exists()


def test_a_file_that_is_there_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("job.yaml").write_text("mine")
    arguments = ["translate-test", "job.yaml", *LANGS, "--target", "sw.txt"]
    assert cli.main(["init", *arguments]) == 2
    assert "job.yaml: is there already" in capsys.readouterr().err
    assert Path("job.yaml").read_text() == "mine"
    assert cli.main(["init", *arguments[:1], "no/such/job.yaml", *arguments[2:]]) == 2
    assert "no/such/job.yaml: cannot be written" in capsys.readouterr().err


# Validating.


def test_what_would_be_done_and_what_is_there(
    ray_session: str,
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = bitext(on_error="status")
    links = Path(job["corpus"]["root"]) / "links.pharaoh"
    links.write_text(links.read_text().replace("0-0", "0-99", 1))
    job["align"] = {"engine": "surface"}
    del job["corpus"]["links"]
    path = job_file(job)
    assert cli.main(["validate", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == {"swh_Latn": len(PAIRS)}
    assert [(run["name"], run["rows"], run["there"]) for run in found["runs"]] == [
        ("surface", len(PAIRS), 0),
        ("project", len(PAIRS), 0),
    ]
    assert not (tmp_path / "out").exists()
    result = pipeline.project(config.load(path))
    assert cli.main(["validate", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["there"] for run in found["runs"]] == [len(PAIRS)] * 2
    assert found["runs"][-1]["fingerprint"] == result.run.fingerprint
    assert cli.main(["validate", str(path), "--set", "project.method=span"]) == 0
    said = capsys.readouterr().out
    assert [line.split()[-3:-1] for line in said.splitlines() if "surface " in line] == [["5", "5"]]
    assert said.endswith("the job can run\n")
    assert cli.main(["validate", str(path)]) == 0
    assert capsys.readouterr().out.endswith("nothing is to be done\n")


def test_a_bad_row_is_told(
    bitext: Bitext, job_file: JobFile, capsys: pytest.CaptureFixture[str]
) -> None:
    job = bitext(on_error="status")
    links = Path(job["corpus"]["root"]) / "links.pharaoh"
    links.write_text(links.read_text().replace("0-0", "0-99", 1))
    assert cli.main(["validate", str(job_file(job))]) == 0
    assert "1 rows are invalid" in capsys.readouterr().out


def test_validate_finds_models_and_refuses_what_is_none(
    demo_models: Models,
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    job = bitext()
    del job["corpus"]["links"]
    job["align"] = {"engine": "encoder", "model": str(demo_models.encoder), "layer": 2}
    assert cli.main(["validate", str(job_file(job))]) == 0
    assert f"model     {demo_models.encoder}: folder" in capsys.readouterr().out
    for model, message in (
        (str(tmp_path), "has no config.json, so it is not a checkpoint's folder"),
        ("./none", "no such folder"),
        ("bert/none", "no such folder, and the hub cannot be reached"),
    ):
        job["align"]["model"] = model
        assert cli.main(["validate", str(job_file(job))]) == 2
        assert f"projner: {model}: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": None}, "the job has no `output`"),
        ({"evaluate": {"gold": "none.conll"}}, "none.conll: no such file"),
        ({"project": {"method": "transfer"}}, "looks at the target side with a tagger"),
    ],
)
def test_what_validate_refuses(
    change: dict[str, Any],
    message: str,
    bitext: Bitext,
    job_file: JobFile,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["validate", str(job_file(bitext() | change))]) == 2
    assert message in capsys.readouterr().err


# Completion.


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_know_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="needs the extra projner[completion]")
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("project", "doctor", "--source-lang", "translate-train"):
        assert word in script


def test_completion_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    assert "pip install 'projner[completion]'" in capsys.readouterr().err
