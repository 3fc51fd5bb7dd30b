"""The wheel as a user meets it: built, installed into an environment of its own, and run.

`make test-wheel` runs it. It is no part of the test suite, because it installs some hundred packages, and
those of all extras with `--extras`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from tests.conftest import PAIRS, ROOT, conll, plain

EXTRAS = ("models", "completion", "hub", "langid", "s3", "gcs", "spacy", "cluster")
"""Those that need no compiler; `icu` has no wheel for every Python."""
JOB = ["--source-lang", "eng", "--target-lang", "swh"]


def main() -> None:
    """Build, look inside, install, run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--extras", action="store_true", help="install every extra, too")
    parser.add_argument("--torch", default="torch", help="what pip installs before `models`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="projner-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        check_contents(wheel)
        python = environment(folder / "venv")
        install(python, str(wheel))
        use(python, folder)
        if options.extras:
            install(python, options.torch)
            install(python, f"{wheel}[{','.join(EXTRAS)}]")
            run([python, "-m", "projner", "doctor", "--need", ",".join(EXTRAS)], folder)
    print("wheel: everything works")


def run(command: list[str], folder: Path) -> str:
    """What a command prints; its errors go where ours go. Ends the script where it fails."""
    print("wheel:", *command[1:], file=sys.stderr, flush=True)
    # Whatever is in the working tree must not be found.
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"wheel: {' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel of the working tree."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], folder)
    (wheel,) = folder.glob("projner-*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Every file of the package is inside, and nothing else."""
    listed = run(["git", "-C", str(ROOT), "ls-files", "projner"], ROOT).split()
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == set(listed), sorted(inside ^ set(listed))
    about = {name.partition(".dist-info/")[2] for name in names} - {""}
    assert about >= {"METADATA", "entry_points.txt", "licenses/LICENSE"}, about


def environment(folder: Path) -> str:
    """The interpreter of a new environment that has nothing."""
    venv.create(folder, with_pip=True)
    return str(folder / "bin" / "python")


def install(python: str, what: str) -> None:
    run([python, "-m", "pip", "--disable-pip-version-check", "-q", "install", what], ROOT.parent)


def use(python: str, folder: Path) -> None:
    """What the README does first, with the base alone."""
    code = "import importlib.util as u; print([n for n in ('torch', 'transformers') if u.find_spec(n)])"
    assert run([python, "-c", code], folder) == "[]\n"
    projner = str(Path(python).with_name("projner"))
    assert "COMMAND" in run([projner, "--help"], folder)
    assert "a task ran" in run([projner, "doctor"], folder)
    sources, targets = [pair.source for pair in PAIRS], [pair.target for pair in PAIRS]
    (folder / "en.conll").write_text(conll(sources), encoding="utf-8")
    (folder / "sw.txt").write_text("".join(f"{plain(text)}\n" for text in targets))
    (folder / "links").write_text("".join(f"{pair.links}\n" for pair in PAIRS))
    files = ["--source", "en.conll", "--target", "sw.txt", "--links", "links"]
    run([projner, "init", "bitext", "job.yaml", *JOB, *files], folder)
    run([projner, "validate", "job.yaml"], folder)
    run([projner, "project", "job.yaml"], folder)
    run([projner, "export", "projected", "--format", "conll", "--output", "sw.conll"], folder)
    assert (folder / "sw.conll").read_text(encoding="utf-8").split() == conll(targets).split()


if __name__ == "__main__":
    main()
