"""The demo as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from projner.evaluate import f1
from projner.runs import run as runs


def test_the_demo_says_what_it_left_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "projner.cli", "demo", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for language, name in (("swh", "Swahili"), ("hau", "Hausa")):
        run = runs.find(tmp_path / "out" / language)
        snapshot = run.latest()
        assert snapshot is not None
        assert str(run.folder / "data") in done.stdout
        gold = f1.read_labelled(str(tmp_path / "out" / "corpus" / f"test.{language}.conll"))
        figures = f1.evaluate(gold, f1.read_labelled(str(run.folder))).overall
        assert snapshot.rows == len(gold.tokens)
        assert figures.f1 > 0.95
        row = next(line for line in done.stdout.splitlines() if line.lstrip().startswith(name))
        assert row.split()[-1] == f"{figures.f1:.3f}"
