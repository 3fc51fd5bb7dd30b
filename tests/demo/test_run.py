"""The demo as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from projner.demo import write_corpus
from projner.demo.models import Models
from projner.evaluate import f1
from projner.runs import run as runs

NAMES = {"swh": ("Swahili", "swh_Latn"), "hau": ("Hausa", "hau_Latn")}
ROWS = {"translate-test": 120, "translate-train": 600, "bitext": 120}


@pytest.mark.slow
def test_the_three_directions(demo_models: Models, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "projner.cli", "demo", "--output", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "The models are toys" in done.stdout
    assert f"{out / 'report.html'}: the first of these as a page" in done.stdout
    assert '"gold":{"overall":' in (out / "report.html").read_text("utf-8")
    made, figures = map(_rows, _tables(done.stdout))
    assert set(made) == set(figures) == {(d, name) for d in ROWS for name, _ in NAMES.values()}
    # The figures are what the last lines say.
    assert done.stdout.splitlines()[-1].split() == figures["bitext", "Hausa"]
    for (direction, _), row in made.items():
        assert int(row[-3]) == ROWS[direction]
        assert int(row[-2]) > 0.9 * ROWS[direction]
    for language, (name, code) in NAMES.items():
        gold = f1.read_labelled(str(write_corpus.CORPUS / f"test.{language}.conll"))
        for direction in ("translate-test", "bitext"):
            location = str(out / f"{direction}-{language}")
            expected = f1.evaluate(gold, f1.read_labelled(location)).overall
            printed = figures[direction, name]
            assert printed[-4:] == [
                str(len(gold.tokens)),
                *(f"{each:.3f}" for each in (expected.precision, expected.recall, expected.f1)),
            ]
            assert expected.f1 > 0.65
            assert str(runs.find(location).folder / "data") in done.stdout
        trained = f1.read_labelled(str(out / "translate-train"), language=code)
        assert not set(map(tuple, trained.tokens)) & set(map(tuple, gold.tokens))
        assert float(figures["translate-train", name][-1]) > 0.65


def test_what_the_jobs_are_given(tmp_path: Path) -> None:
    """Held-out labels and links never reach a job that is scored by them."""
    from projner.demo import run

    run._write(tmp_path)
    models = Models(*(tmp_path / name for name in Models._fields))
    given = {name: job["corpus"] for _, _, name, job in run._jobs(tmp_path, models)}
    files = {
        name: sorted(Path(corpus[side]).name for side in ("source", "target") if side in corpus)
        for name, corpus in given.items()
    }
    assert files == {
        "translate-test-swh": ["swh.txt"],
        "translate-test-hau": ["hau.txt"],
        "translate-train": ["eng.conll"],
        "bitext-swh": ["eng.txt", "swh.txt"],
        "bitext-hau": ["eng.txt", "hau.txt"],
    }
    assert "links" not in yaml.safe_dump(given)
    texts = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")}
    assert not any(mark in text for text in texts.values() for mark in ("B-PER", "B-LOC", "B-ORG"))
    shipped = (write_corpus.CORPUS / "labelled.eng.conll").read_text(encoding="utf-8")
    assert (tmp_path / "eng.conll").read_text(encoding="utf-8") == shipped


def _rows(lines: list[str]) -> dict[tuple[str, str], list[str]]:
    """The cells of each row, by its direction and language."""
    cells = [line.split() for line in lines]
    names = {name for name, _ in NAMES.values()}
    return {(row[0], next(each for each in row if each in names)): row for row in cells}


def _tables(text: str) -> list[list[str]]:
    """The lines of each table in a text, without their headers."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  ---"):
            rest = lines[number + 1 :]
            end = rest.index("") if "" in rest else len(rest)
            found.append(rest[:end])
    return found
