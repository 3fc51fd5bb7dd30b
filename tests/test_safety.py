"""What comes from outside runs no code and opens no file; what is secret goes nowhere."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from projner import cli, config, methods
from projner.corpus import index as corpora
from projner.errors import JobError
from tests.cluster.nodes import descendants
from tests.conftest import ROOT
from tests.test_pipeline import Bitext, many

SECRET = "s3cr3t-0f-the-test"
SOURCES = sorted((ROOT / "projner").rglob("*.py"))


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [MARK]",
        "!!python/object/new:os.mkdir {args: [MARK]}",
        "!!python/name:os.mkdir",
    ],
)
def test_a_job_file_runs_nothing(tmp_path: Path, value: str) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "job.yaml"
    path.write_text(f"corpus: {value.replace('MARK', str(mark))}\n")
    with pytest.raises(JobError, match="not valid YAML"):
        config.load(path)
    path.write_text("corpus: {}\n")
    with pytest.raises(JobError, match="not valid YAML"):
        config.load(path, [f"corpus.root={value.replace('MARK', str(mark))}"])
    assert not mark.exists()


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_could_run_foreign_code_is_called(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name, call in calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in ("pickle.load", "pickle.loads"):
            # A copy of something of our own, as it would be sent to a worker.
            assert ast.unparse(call.args[0]).startswith("pickle.dumps("), call.lineno
        assert name not in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load"), name
        assert given.get("shell", "False") == "False", name
        assert given.get("trust_remote_code", "False") == "False", name
        if name == "torch.load":
            assert given.get("weights_only") == "True", call.lineno
        if name in ("np.load", "numpy.load"):
            assert "allow_pickle" not in given, call.lineno


def test_paths_in_data_are_never_opened(tmp_path: Path) -> None:
    bait = tmp_path / "bait"
    bait.write_text("bait")
    name = str(bait)
    record = {
        "source_text": f"{name} met file://{name} .",
        "target_text": f"{name} alikutana {name} .",
        "source_tokens": [name, "met", f"file://{name}", "."],
        "source_entities": [{"start": 0, "end": 1, "label": name}],
        "links": [[0, 0], [1, 1]],
    }
    (tmp_path / "records.jsonl").write_text(json.dumps(record))
    corpus = {
        "format": "jsonl",
        "path": str(tmp_path / "records.jsonl"),
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
        "columns": {"links": "links"},
    }
    job = config.build({"corpus": corpus})
    opened: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir", "subprocess.Popen") and watching:
            opened.append(str(arguments[0]))

    watching = True
    # A hook stays for good, and so is told when to sleep.
    sys.addaudithook(note)
    try:
        index = corpora.index(job.corpus)
        (chunk,) = index.chunks
        table = corpora.read(job.corpus, chunk, index.ids, index.revisions)
        done = methods.apply(methods.projection_stages(job.project), table)
        (tmp_path / "seen").open("w").close()
    finally:
        watching = False
    assert done["status"].to_pylist() == ["ok"]
    assert done["target_entities"][0][0]["label"].as_py() == name
    assert str(tmp_path / "seen") in opened
    assert name not in opened


SECRETS = {
    "HF_TOKEN": f"hf_{SECRET}",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "RAY_AUTH_TOKEN": f"ray-{SECRET}",
    "WANDB_API_KEY": SECRET,
}


@pytest.mark.parametrize(
    "settings",
    [
        {"output": f"s3://key:{SECRET}@bucket/out"},
        {"corpus": {"root": f"https://user:{SECRET}@host/"}},
        {"corpus": {"target": [f"https://host/t.txt?X-Amz-Signature={SECRET}"]}},
        {"evaluate": {"gold": f"https://host/gold?token={SECRET}"}},
        {"storage_options": {"secret": SECRET}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_credentials_in_a_job_are_refused_and_not_repeated(
    bitext: Bitext,
    job_file: Callable[..., Path],
    settings: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    job = bitext()
    for key, value in settings.items():
        job[key] = {**job.get(key, {}), **value} if isinstance(value, dict) else value
    assert cli.main(["project", str(job_file(job))]) == 2
    out = capfd.readouterr()
    assert SECRET not in out.out + out.err
    assert "holds credentials" in out.err or "unknown key" in out.err


def listening(pid: int) -> set[str]:
    """The addresses, as /proc has them, at which a process and those that it started listen."""
    mine: set[str] = set()
    for each in [pid, *descendants(pid)]:
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{each}/fd"):
                with suppress(OSError):
                    mine.add(os.readlink(entry.path))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in mine and (table[0] == "u" or fields[3] == "0A"):
                found.add(fields[1].partition(":")[0])
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", f"{'0' * 24}01000000"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are looked up in /proc")
def test_a_local_job_listens_to_this_machine_alone_and_keeps_secrets(
    bitext: Bitext, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    job = bitext(many(200)) | {"resources": {"shard_rows": 10}}
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "projner.cli", "project", str(job_file(job))],
        cwd=ROOT,
        env={**environment, **SECRETS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    addresses: set[str] = set()
    while process.poll() is None:
        addresses |= listening(process.pid)
        time.sleep(0.1)
    assert process.stdout is not None
    printed = process.stdout.read().decode()
    assert process.returncode == 0, printed
    assert addresses
    assert addresses <= LOOPBACK
    assert SECRET not in printed
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
