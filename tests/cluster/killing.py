"""Jobs on a cluster whose actors, nodes and drivers are killed, against the job that was left alone.

`python -m tests.cluster.killing --rounds 20` from the repository's folder.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from projner.runs import run as runs
from projner.runs.run import Run
from tests.cluster.nodes import ENVIRONMENT, Cluster, cluster

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("actor", "node", "driver")
LONGEST = 180.0
"""Seconds after which a job hangs."""


@dataclass(frozen=True)
class Round:
    """What was killed, and what came of it."""

    killed: list[str]
    drivers: int
    seconds: float
    rows: int
    """Rows that actors were given, over all drivers."""
    kept: int
    """Rows that were in whole shards when a driver had been killed, over all of them."""
    problems: list[str]


@dataclass(frozen=True)
class Killing:
    """Rounds on one cluster."""

    nodes: Cluster
    job: dict[str, Any]
    folder: Path
    models: bool
    random: random.Random

    def undisturbed(self) -> tuple[list[dict[str, Any]], float]:
        """The rows of the job that nobody disturbs, and the seconds from its first batch on."""
        driver = self._driver(self.folder / "undisturbed", "alone")
        self._wait_for_work(self.folder / "undisturbed", "alone", driver)
        began = time.monotonic()
        code = driver.wait(LONGEST)
        log = (self.folder / "undisturbed" / "alone.log").read_text()
        assert code == 0, f"the undisturbed job ended with {code}: {log}"
        return self._rows(self.folder / "undisturbed"), time.monotonic() - began

    def round(
        self, number: int, kinds: Sequence[str], expected: list[dict[str, Any]], usual: float
    ) -> Round:
        """One job that is disturbed, as often as there are `kinds`, and brought to its end."""
        output = self.folder / f"round-{number}"
        began = time.monotonic()
        killed: list[str] = []
        problems: list[str] = []
        done_before: dict[str, set[int]] = {}
        drivers = 1
        driver = self._driver(output, "driver1")
        for kind in kinds:
            # Most of a short job is joining the cluster, when nothing can be lost.
            if self.random.random() < 0.8:
                self._wait_for_work(output, f"driver{drivers}", driver)
            moment = self.random.uniform(0, 1) * usual
            with suppress(subprocess.TimeoutExpired):
                driver.wait(moment)
            if kind == "actor":
                killed.append(self.nodes.kill_actor(self.random.random()) or "no actor")
            elif kind == "node":
                self.nodes.kill_worker(self.random.randrange(len(self.nodes.workers)))
                self.nodes.add()
                killed.append("node")
            elif driver.poll() is None:
                os.kill(driver.pid, signal.SIGKILL)
                driver.wait()
                killed.append("driver")
                drivers += 1
                name = f"driver{drivers}"
                done_before[name] = committed(output)
                driver = self._driver(output, name)
            else:
                killed.append("no driver")
            killed[-1] += f" at {time.monotonic() - began:.1f} s"
        try:
            code = driver.wait(LONGEST)
        except subprocess.TimeoutExpired:
            driver.kill()
            code = -1
            problems.append("hangs")
        if code:
            problems.append(f"ended with {code}")
        else:
            problems += differences(expected, self._rows(output))
        noted = notes(output)
        for name, before in done_before.items():
            if again := before & set(noted.get(name, [])):
                problems.append(f"{len(again)} rows that were committed were computed again")
        return Round(
            killed,
            drivers,
            time.monotonic() - began,
            sum(map(len, noted.values())),
            sum(map(len, done_before.values())),
            problems,
        )

    def _wait_for_work(self, output: Path, name: str, driver: subprocess.Popen[bytes]) -> None:
        """Return when a driver's first rows are worked on, when it has ended, or when it hangs."""
        before = len(committed(output))
        patience = time.monotonic() + LONGEST
        while driver.poll() is None and not notes(output).get(name) and time.monotonic() < patience:
            if self.models and len(committed(output)) > before:
                break
            time.sleep(0.1)

    def _driver(self, output: Path, name: str) -> subprocess.Popen[bytes]:
        output.mkdir(exist_ok=True)
        path = output / "job.yaml"
        path.write_text(yaml.safe_dump({**self.job, "output": str(output / "out")}))
        slow = [str(Path(__file__).with_name("driver.py")), str(path), str(output / "notes"), name]
        command = ["-m", "projner.cli", "project", str(path)] if self.models else slow
        with (output / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**ENVIRONMENT, "RAY_ADDRESS": self.nodes.address, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _rows(self, output: Path) -> list[dict[str, Any]]:
        run = runs.find(output / "out")
        snapshot = run.latest()
        assert snapshot is not None
        return list(run.read(snapshot).to_pylist())


def notes(output: Path) -> dict[str, list[int]]:
    """The ids of the rows that each driver's actors were given."""
    found: dict[str, list[int]] = {}
    path = output / "notes"
    for line in path.read_text().splitlines() if path.exists() else []:
        # A process that is killed may leave half a line.
        with suppress(ValueError):
            name, id_ = line.split(" ")
            found.setdefault(name, []).append(int(id_))
    return found


def committed(output: Path) -> set[int]:
    """The ids in whole shards of the first of a job's runs."""
    folder = output / "out" / "runs"
    found: set[int] = set()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        settings = path / "job.yaml"
        if settings.exists() and not yaml.safe_load(settings.read_text())["parent"]:
            run = Run(path)
            for name in (run.folder / "data").files():
                found |= set(run.read_shard(name, columns=["id"])["id"].to_pylist())
    return found


def differences(expected: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    """What rows have otherwise than they should; floats may differ by 1e-4."""
    if len({row["id"] for row in rows}) != len(rows):
        return ["rows are doubled"]
    if [row["id"] for row in rows] != [row["id"] for row in expected]:
        return [f"{len(rows)} rows, which are not the {len(expected)} of the undisturbed job"]
    other = [
        f"row {number}: {place}"
        for number, (one, two) in enumerate(zip(expected, rows, strict=True))
        for place in _differing(one, two, "")
    ]
    return other[:3]


def _differing(one: Any, two: Any, place: str) -> Iterator[str]:
    if isinstance(one, float) and isinstance(two, float):
        if abs(one - two) > 1e-4:
            yield f"{place} {one} {two}"
    elif isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        for key in one:
            yield from _differing(one[key], two[key], f"{place}.{key}")
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for number, pair in enumerate(zip(one, two, strict=True)):
            yield from _differing(*pair, f"{place}[{number}]")
    elif one != two:
        yield f"{place} {one!r} {two!r}"


def slow_job(folder: Path, rows: int = 1000) -> dict[str, Any]:
    """A job of sentences that differ from each other, for `driver.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"Ada{number} met Rome{number % 7} ." for number in range(rows)]
    blocks = [f"Ada{n} B-PER\nmet O\nRome{n % 7} B-LOC\n. O\n\n" for n in range(rows)]
    (folder / "source.conll").write_text("".join(blocks))
    (folder / "target.txt").write_text("".join(f"{line}\n" for line in names))
    corpus = {
        "format": "bitext",
        "source": str(folder / "source.conll"),
        "target": str(folder / "target.txt"),
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
    }
    resources = {"align": {"actors": 2, "cpus": 0.5}, "batch_rows": 25}
    return {"corpus": corpus, "resources": resources}


def model_job() -> dict[str, Any]:
    """The demo's corpus and its toy models: labels, links by an encoder, projection."""
    from projner.demo import encoder, models
    from projner.demo.write_corpus import CORPUS

    toys = models.models()
    corpus = {
        "format": "bitext",
        "root": str(CORPUS),
        "source": "train.eng.conll",
        "target": "train.swh.conll",
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
    }
    pool = {"actors": 2, "cpus": 0.5}
    return {
        "corpus": corpus,
        "label_target": {"model": str(toys.tagger)},
        "align": {"engine": "encoder", "model": str(toys.encoder), "layer": encoder.LAYERS},
        "resources": {"align": pool, "label": pool, "batch_rows": 50},
    }


def kill(
    rounds: int, seed: int, models: bool = False, kinds: Sequence[Sequence[str]] = ()
) -> Iterator[Round]:
    """Disturb a job so many times, each time by the kinds that are given or drawn for the round."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, cluster() as nodes:
        folder = Path(name)
        job = model_job() if models else slow_job(folder / "corpus")
        killing = Killing(nodes, job, folder, models, draw)
        expected, usual = killing.undisturbed()
        for number in range(rounds):
            chosen = kinds[number] if kinds else draw.choices(KINDS, k=draw.choice((1, 2)))
            yield killing.round(number, chosen, expected, usual)


def main() -> int:
    """Print a line for each round; 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    parser.add_argument(
        "--models", action="store_true", help="the demo's toy models, not slow actors"
    )
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    bad = 0
    for number, each in enumerate(kill(options.rounds, options.seed, options.models), 1):
        bad += bool(each.problems)
        print(
            f"round {number}: killed {', '.join(each.killed)}; {each.drivers} drivers, "
            f"{each.seconds:.0f} s, {each.rows} rows given to actors, {each.kept} committed "
            f"before a restart; {'; '.join(each.problems) or 'as undisturbed'}",
            flush=True,
        )
    print(f"{options.rounds - bad} of {options.rounds} rounds ended as undisturbed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
