"""README.md as somebody who has never seen the project follows it: every block of it, from top to bottom.

Blocks that run share a clean folder. One that does not run says why, in a comment above it that readers do
not see: `<!-- not run: the reason -->`. `<!-- file: NAME -->` above a block puts its text into that file. All
YAML is held against the files that projner reads.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from projner import config
from projner.chain import Chain
from projner.train.config import Training
from tests.conftest import ROOT

BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>not run|file): (?P<what>.+?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
REASONS = ("downloads", "needs", "tested by")
"""What keeps a block from being run: models or data that are fetched, machines, or it is another test's."""


class Block(NamedTuple):
    """A block of code, and what the comment above it says."""

    line: int
    kind: str | None
    what: str
    language: str
    code: str


def blocks() -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [
        Block(
            text.count("\n", 0, found.start("code")),
            found["kind"],
            found["what"] or "",
            found["language"],
            found["code"],
        )
        for found in BLOCK.finditer(text)
    ]


def shown(block: Block) -> str:
    return f"README.md:{block.line} {block.language}"


BLOCKS = blocks()


def test_every_block_is_seen() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(BLOCKS) == len(re.findall(r"^```", text, re.MULTILINE)) / 2
    assert {block.language for block in BLOCKS} <= {"sh", "yaml", "python"}


def test_what_does_not_run_says_why() -> None:
    skipped = [block for block in BLOCKS if block.kind == "not run"]
    for block in skipped:
        assert block.what.startswith(REASONS), shown(block)
    # Most of what a newcomer types first is among the rest.
    run = [block for block in BLOCKS if block.language != "yaml" and block.kind is None]
    assert len(run) >= 5


def test_the_walk(ray_session: str, tmp_path: Path) -> None:
    """Job after job on one Ray, that of the tests."""
    commands, folder = tmp_path / "commands", tmp_path / "walk"
    commands.mkdir()
    folder.mkdir()
    for name, run in (("projner", "-m projner"), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {run} "$@"\n')
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": ray_session,
        "HF_HUB_OFFLINE": "1",
    }
    for block in BLOCKS:
        if block.kind == "file":
            (folder / block.what).write_text(block.code, encoding="utf-8")
        if block.kind is not None or block.language == "yaml":
            continue
        command = ["bash", "-euo", "pipefail", "-c", block.code]
        if block.language == "python":
            command = [sys.executable, "-c", block.code]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
        )
        assert done.returncode == 0, f"{shown(block)}\n{done.stdout}\n{done.stderr}"
        if block.language == "python":
            expected = re.findall(r"^print\(.*\)  # (.*)$", block.code, re.MULTILINE)
            assert done.stdout.splitlines() == expected, shown(block)


JOB: dict[str, Any] = {
    "corpus": {"format": "text", "source": "a", "source_lang": "eng", "target_lang": "swh"},
}


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=shown)
def test_yaml_has_keys_that_are_read(block: Block) -> None:
    data = yaml.safe_load(block.code)
    if "steps" in data:
        Chain.model_validate(data)
    elif data.keys() <= config.Job.model_fields.keys():
        config.build({**JOB, **data})
    else:
        # Parts of a training file stand alone, too.
        whole = {"model": "m", "data": {"gold": "a", "runs": "b"}, "dev": "c", **data}
        kind: type[Training] = Training
        if "study" in data:
            pytest.importorskip("torch", reason="needs the extra projner[models]")
            from projner.train.study import Study

            kind = Study
        kind.model_validate(whole)
