"""The command line as a user meets it: real processes, what they print, and how they fail."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projner import cli
from tests.conftest import PAIRS, ROOT, Pair, conll, plain

Bitext = Callable[..., dict[str, Any]]
JobFile = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `python ARGUMENTS` in a folder of its own: `run("-m", "module", ..., NAME="value")`."""

    def start(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    return start


@pytest.fixture
def projner(run: Run) -> Run:
    """Runs `projner ARGUMENTS`."""
    return lambda *arguments, **environment: run("-m", "projner.cli", *arguments, **environment)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command was refused with."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("projner: ")
    return line.removeprefix("projner: ")


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a command said on standard error, but for how far it has come: a busy machine takes minutes."""
    return [line for line in done.stderr.splitlines() if not re.search(r" so far\)|\d%\)", line)]


# Projecting.


@pytest.mark.slow
def test_a_job_on_a_ray_of_its_own(projner: Run, bitext: Bitext, job_file: JobFile) -> None:
    done = projner("project", job_file(bitext()))
    assert done.returncode == 0, done.stderr
    assert complaints(done) == []
    lines = done.stdout.splitlines()
    assert lines[0].startswith("5 rows, 5 computed now; project ")
    assert ["ok", "5"] in [line.split() for line in lines]
    assert ["PER", "3"] in [line.split() for line in lines]
    (shards,) = (line.split()[1] for line in lines if line.startswith("shards "))
    assert list(Path(shards).glob("*.parquet"))
    assert lines[-2].startswith("signature ")
    (log,) = (line.split()[1] for line in lines if line.startswith("log "))
    assert "Started a local Ray" in Path(log).read_text()


@pytest.mark.parametrize(
    "start", [["-m", "projner.cli", "project"], [ROOT / "jobs" / "project.py"]]
)
def test_a_job_on_a_cluster(
    run: Run, ray_session: str, bitext: Bitext, job_file: JobFile, tmp_path: Path, start: list[Any]
) -> None:
    bitext(gold=True)
    gold = tmp_path / "corpus" / "target.conll"
    path = job_file(bitext() | {"output": "unused"})
    other = ["--set", "project.method=span", "--output", "out/here"]
    done = run(*start, path, *other, RAY_ADDRESS=ray_session)
    assert (done.returncode, complaints(done)) == (0, [])
    assert "5 rows, 5 computed now" in done.stdout
    assert "method=span" in done.stdout
    assert not (tmp_path / "unused").exists()

    evaluated = run(
        "-m", "projner.cli", "evaluate", "--gold", gold, "--predicted", "out/here", "--json"
    )
    assert json.loads(evaluated.stdout)["overall"] == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "support": 7,
    }


# Refusing.


def spoilt(name: str, before: bytes, after: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        assert before in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(before, after, 1))

    return spoil


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def untouched(_: Path) -> None:
    pass


def lost(folder: Path) -> None:
    (folder / "target.txt").unlink()


SOURCE, TARGET, LINKS = "source.conll", "target.txt", "links.pharaoh"
BAD = {
    "missing file": (lost, {}, "target.txt: no such file"),
    "empty file": (written(TARGET, b""), {}, "target.txt: is empty"),
    "parquet": (written(TARGET, b"PAR1" + bytes(9)), {}, "target.txt: looks like Parquet"),
    "gzip": (written(LINKS, b"\x1f\x8b" + bytes(9)), {}, "links.pharaoh: looks like gzip"),
    "json": (written(TARGET, b'{"a": 1}\n'), {}, "target.txt: looks like JSON lines"),
    "no links": (written(LINKS, b"a b\n" * 5), {}, "links.pharaoh:1: "),
    "shorter side": (
        spoilt(TARGET, b"Mvua ilinyesha .\n", b""),
        {},
        "target.txt (plain text) has 4",
    ),
    "longer links": (spoilt(LINKS, b"\n", b"\n0-0\n"), {}, "links.pharaoh (links) has 6"),
    "link out of range": (spoilt(LINKS, b"2-2\n", b"2-3\n"), {}, "links.pharaoh:2: link 2-3"),
    "links from 1": (untouched, {"links_base": 1}, "links.pharaoh:1: link 0-0"),
    "no such tag": (spoilt(SOURCE, b"B-LOC", b"X-LOC"), {}, "source.conll:3: 'X-LOC'"),
    "another scheme's": (
        spoilt(SOURCE, b"B-", b"S-"),
        {"scheme": "IOB2"},
        "source.conll:1: 'S-PER'",
    ),
    "token with a tab": (spoilt(SOURCE, b"rained", b"rai\tned"), {}, "source.conll:7: "),
    "column too few": (spoilt(SOURCE, b"rained O", b"rained"), {}, "source.conll:7: "),
    "byte": (spoilt(TARGET, b"Roma", b"Rom\xff"), {}, "target.txt:1: byte 18 (0xff) is not UTF-8"),
    "NUL": (spoilt(TARGET, b"Roma", b"Rom\0"), {}, "target.txt:1: byte 18 is NUL"),
    "unknown language": (
        untouched,
        {"target_lang": "swahli"},
        "unknown language 'swahli': did you",
    ),
    "unknown key": (untouched, {"sorce": "x"}, "unknown key `sorce`; did you mean `source`?"),
    "skip everything": (untouched, {"skip": 5}, "corpus.skip: 5 leaves no sentences"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str],
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
    kind: str,
) -> None:
    spoil, settings, message = BAD[kind]
    path = job_file(bitext(**settings))
    spoil(tmp_path / "corpus")
    code = cli.main(["project", str(path), "--output", str(tmp_path / "elsewhere")])
    said = capsys.readouterr()
    line = refused(subprocess.CompletedProcess([], code, said.out, said.err))
    assert message in line
    assert "job.yaml:" in line or str(tmp_path / "corpus") in line or "corpus." in line
    assert {entry.name for entry in tmp_path.iterdir()} == {"corpus", "job.yaml"}


@pytest.mark.parametrize("kind", ["missing file", "shorter side", "byte", "unknown language"])
def test_the_same_from_a_process(
    projner: Run, bitext: Bitext, job_file: JobFile, tmp_path: Path, kind: str
) -> None:
    spoil, settings, message = BAD[kind]
    path = job_file(bitext(**settings))
    spoil(tmp_path / "corpus")
    assert message in refused(projner("project", path, "--output", "elsewhere"))
    assert {entry.name for entry in tmp_path.iterdir()} == {"corpus", "job.yaml"}


JOBS = [
    (None, [], "no-such.yaml: cannot read the job file: No such file or directory"),
    ("", [], "job.yaml: a job file holds sections"),
    ("corpus: [", [], "job.yaml:1: not valid YAML"),
    ("corpus: {}", [], "`corpus.format` is missing"),
    ("{corpus}\nporject: {}", [], "job.yaml:2: unknown key `porject`; did you mean `project`?"),
    ("{corpus}\nproject: {score: best}", [], "job.yaml:2: project.score: "),
    ("{corpus}\nalign: {engine: fast_align}", [], "job.yaml:2: align"),
    ("{corpus}", ["--set", "project.limit"], "--set project.limit: write it as section.key=value"),
    ("{corpus}", ["--set", "project.limit=0"], "--set project.limit"),
    (
        "{corpus}",
        ["--set", "resources=1"],
        "--set resources: resources: holds keys of its own, not 1",
    ),
    ("{corpus}", [], "the job has no `output`; add one, or give --output DIR"),
]


@pytest.mark.parametrize(("text", "more", "message"), JOBS)
def test_bad_job_files(
    capsys: pytest.CaptureFixture[str],
    bitext: Bitext,
    tmp_path: Path,
    text: str | None,
    more: list[str],
    message: str,
) -> None:
    path = tmp_path / "no-such.yaml"
    if text is not None:
        path = tmp_path / "job.yaml"
        corpus = json.dumps({"corpus": bitext()["corpus"]})[1:-1]
        path.write_text(text.replace("{corpus}", corpus))
    code = cli.main(["project", str(path), *more])
    said = capsys.readouterr()
    assert message in refused(subprocess.CompletedProcess([], code, said.out, said.err))


ONE_SIDE: dict[str, Any] = {"target": [], "links": []}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"links": []}, "the corpus has no word links; give corpus.links, or name an aligner"),
        ({"source": "target.txt"}, "the corpus has no labels on its source side"),
        (ONE_SIDE | {"format": "text", "source": "target.txt"}, "the corpus has no target side"),
        (ONE_SIDE | {"format": "text"}, "source.conll: looks like CoNLL, not plain text"),
        (ONE_SIDE | {"format": "conll"}, "the corpus has no target side; give corpus.target"),
    ],
)
def test_a_corpus_that_lacks_what_a_method_needs(
    capsys: pytest.CaptureFixture[str],
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
    settings: dict[str, Any],
    message: str,
) -> None:
    pairs = [Pair("It rained .", "Mvua ilinyesha .", "0-0")]
    job = bitext(pairs, **settings)
    code = cli.main(["project", str(job_file(job))])
    said = capsys.readouterr()
    assert message in refused(subprocess.CompletedProcess([], code, said.out, said.err))
    assert not (tmp_path / "out").exists()


def test_no_cluster_where_one_was_named(projner: Run, bitext: Bitext, job_file: JobFile) -> None:
    line = refused(projner("project", job_file(bitext()), RAY_ADDRESS="http://127.0.0.1:8265"))
    assert line.startswith("RAY_ADDRESS=http://127.0.0.1:8265: cannot join a cluster there (")


# Evaluating.


def both(folder: Path) -> tuple[Path, Path]:
    """Gold and predicted files: of PER two are right, one is wrong; of LOC one is missing."""
    gold = ["[PER Ada Byron] met [PER Eva]", "[LOC Rome] [DATE today]", "[PER Ira] left"]
    predicted = ["[PER Ada Byron] met [PER Eva]", "Rome today", "[PER Ira left]"]
    paths = folder / "gold.conll", folder / "predicted.conll"
    for path, sentences in zip(paths, (gold, predicted), strict=True):
        path.write_text(conll(sentences), encoding="utf-8")
    return paths


def test_figures_as_json(projner: Run, tmp_path: Path) -> None:
    gold, predicted = both(tmp_path)
    arguments = ["evaluate", "--gold", gold, "--predicted", predicted, "--ignore", "DATE"]
    done = projner(*arguments, "--ignore", "MISC", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert list(found)[:3] == ["overall", "classes", "signature"]
    assert found["overall"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7, "support": 4}
    )
    assert list(found["classes"]) == ["LOC", "PER"]
    assert found["classes"]["LOC"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert found["classes"]["PER"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
    )
    assert isinstance(found["classes"]["PER"]["support"], int)
    for part in ("seqeval-strict-iob2", "gold:gold.conll", "predicted:predicted.conll"):
        assert part in found["signature"]
    assert "ignore:DATE,MISC" in found["signature"]


def test_figures_as_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gold, predicted = both(tmp_path)
    assert cli.main(["evaluate", "--gold", str(gold), "--predicted", str(predicted)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["class", "precision", "recall", "F1", "support"]
    cells = [line.split() for line in lines]
    assert ["PER", "0.667", "0.667", "0.667", "3"] in cells
    assert ["overall", "0.667", "0.400", "0.500", "5"] in cells
    assert lines[-1].startswith("signature f1:")


def test_a_part_of_gold(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gold, predicted = both(tmp_path)
    predicted.write_text(conll(["Rome today"]), encoding="utf-8")
    arguments = ["evaluate", "--gold", str(gold), "--predicted", str(predicted), "--json"]
    assert cli.main([*arguments, "--skip", "1", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["overall"]["support"] == 2


def test_a_run_with_rows_that_are_not_ok_counts_them(
    ray_session: str,
    capsys: pytest.CaptureFixture[str],
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
) -> None:
    job = bitext(gold=True, on_error="status")
    gold = tmp_path / "gold.conll"
    gold.write_bytes((tmp_path / "corpus" / "target.conll").read_bytes())
    spoilt("links.pharaoh", b"0-0", b"0-99")(tmp_path / "corpus")
    assert cli.main(["project", str(job_file(job))]) == 0
    assert ["invalid", "1"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    arguments = ["evaluate", "--gold", str(gold), "--predicted", job["output"], "--json"]
    assert cli.main(arguments) == 0
    overall = json.loads(capsys.readouterr().out)["overall"]
    assert overall == pytest.approx({"precision": 1, "recall": 5 / 7, "f1": 5 / 6, "support": 7})


def test_what_evaluate_refuses(
    ray_session: str,
    capsys: pytest.CaptureFixture[str],
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
) -> None:
    gold, predicted = both(tmp_path)
    text = tmp_path / "text"
    text.write_text("\n".join(plain(pair.target) for pair in PAIRS))
    job = bitext()
    for method in ("match", "span"):
        path = str(job_file(job))
        assert cli.main(["project", path, "--set", f"project.method={method}"]) == 0
    capsys.readouterr()
    for first, second, message in [
        (gold, tmp_path / "none", "none: no such file"),
        (tmp_path / "none", gold, "none: no such file"),
        (gold, tmp_path, "holds no run; give a CoNLL file, or the folder of a run"),
        (gold, text, "text: is not CoNLL"),
        (gold, job["output"], "holds several runs; give one of "),
        (gold, job_file({"a": 1}), "job.yaml"),
    ]:
        code = cli.main(["evaluate", "--gold", str(first), "--predicted", str(second)])
        said = capsys.readouterr()
        assert message in refused(subprocess.CompletedProcess([], code, said.out, said.err))
    arguments = ["--gold", str(gold), "--predicted", str(predicted), "--lang", "swahli"]
    assert cli.main(["evaluate", *arguments]) == 2
    assert "unknown language 'swahli'" in capsys.readouterr().err


# Comparing.


def test_methods_side_by_side(
    ray_session: str,
    capsys: pytest.CaptureFixture[str],
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
) -> None:
    gold = {"evaluate": {"gold": "target.conll"}}
    measured = job_file(bitext(gold=True) | gold, "measured")
    silent = job_file(bitext(gold=True), "silent")
    output = tmp_path / "compared"
    arguments = ["compare", str(measured), str(silent), "--methods", "default,span"]
    assert cli.main([*arguments, "--output", str(output), "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)["outcomes"]
    assert [(each["corpus"], each["method"]) for each in outcomes] == [
        ("measured", "default"),
        ("measured", "span"),
        ("silent", "default"),
        ("silent", "span"),
    ]
    assert [each["f1"] for each in outcomes] == [1.0, 1.0, None, None]
    assert all((each["rows"], each["labelled"]) == (5, 1.0) for each in outcomes)
    assert all(each["entities_per_row"] == pytest.approx(7 / 5) for each in outcomes)
    assert len(list((output / "measured" / "runs").iterdir())) == 2

    assert cli.main([*arguments, "--output", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "F1"
    assert lines[1].split() == ["corpus", "default", "span"]
    assert ["measured", "1.000", "1.000"] in [line.split() for line in lines]
    assert ["silent"] in [line.split() for line in lines]


def test_what_compare_refuses(
    capsys: pytest.CaptureFixture[str], bitext: Bitext, job_file: JobFile, tmp_path: Path
) -> None:
    job = bitext()
    good = job_file(job, "good")
    no_gold = job_file(job | {"evaluate": {"gold": "none.conll"}}, "no-gold")
    (tmp_path / "sub").mkdir()
    twin = job_file(job, "sub/good")
    for jobs, message in [
        ([good, tmp_path / "none.yaml"], "none.yaml: cannot read the job file"),
        ([good, no_gold], "none.conll: no such file"),
        ([good, twin], "two job files have the same name"),
        ([good, "--methods", "best"], "unknown method 'best'; choose one of default"),
        ([good, "--choose", "c.yaml"], "--choose needs gold"),
        ([good, "--suite", "conll"], "give job files, or --suite NAME"),
        ([], "give job files, or --suite NAME"),
        (["--suite", "cnll"], "unknown suite 'cnll'; choose one of masakhaner2, xtreme, conll"),
    ]:
        code = cli.main(["compare", *map(str, jobs), "--output", str(tmp_path / "compared")])
        said = capsys.readouterr()
        assert message in refused(subprocess.CompletedProcess([], code, said.out, said.err))
        assert not (tmp_path / "compared").exists()


# Starting.


@pytest.mark.parametrize("module", ["projner", "projner.errors"])
def test_importing_the_package_loads_nothing_else(run: Run, module: str) -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        f"import {module}\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(loaded - {'projner'} - sys.stdlib_module_names))"
    )
    assert run("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["project", "--help"], ["bench", "--help"], ["--version"]]
)
def test_help_answers_at_once(run: Run, arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from projner.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(loaded - {'projner'} - sys.stdlib_module_names), file=sys.stderr)"
    )
    done = run("-c", code, *arguments)
    assert done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "arguments", [[], ["porject"], ["project"], ["project", "a", "--sett", "b"]]
)
def test_wrong_arguments(projner: Run, arguments: list[str]) -> None:
    done = projner(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: projner ")


def test_a_reader_that_has_enough_is_no_error(run: Run, tmp_path: Path) -> None:
    gold, predicted = both(tmp_path)
    code = (
        "import os, sys\n"
        "from projner.cli import main\n"
        "reading, writing = os.pipe()\n"
        "os.close(reading)\n"
        "os.dup2(writing, 1)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = run("-c", code, "evaluate", "--gold", gold, "--predicted", predicted)
    assert (done.returncode, done.stderr) == (141, "")


def test_debug_shows_where_an_error_comes_from(projner: Run) -> None:
    done = projner("project", "none.yaml", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "JobError: none.yaml: cannot read the job file" in done.stderr


def test_what_the_system_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from projner.start import check

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/data/1.parquet")

    (tmp_path / "job.yaml").write_text(
        "corpus: {format: text, source: a, source_lang: eng, target_lang: swh}"
    )
    monkeypatch.setattr(check, "check", full)
    command = ["validate", str(tmp_path / "job.yaml")]
    assert cli.main(command) == 2
    assert capsys.readouterr().err == (
        "projner: out/data/1.parquet: No space left on device (--debug shows where that happened)\n"
    )
    with pytest.raises(OSError, match="No space left"):
        cli.main([*command, "--debug"])


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_a_file_where_the_output_would_be(
    capsys: pytest.CaptureFixture[str],
    bitext: Bitext,
    job_file: JobFile,
    tmp_path: Path,
    output: str,
) -> None:
    (tmp_path / "file").write_text("mine")
    path = job_file(bitext())
    # No Ray is started for that.
    assert cli.main(["project", str(path), "--output", str(tmp_path / output)]) == 2
    assert capsys.readouterr().err == (
        f"projner: {tmp_path / 'file'}: is a file, not a folder; give another --output\n"
    )
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gc", "out", "--keep", "0"], "argument --keep: '0' is no whole number from 1 on"),
        (["diff", "out", "1", "x"], "argument A: 'x' is no whole number from 1 on"),
    ],
)
def test_numbers_are_whole(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert message in capsys.readouterr().err


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("projner")
    if not command.exists():
        pytest.skip("projner is not installed in this environment")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("projner ")
