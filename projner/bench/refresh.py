"""How long a whole job takes, how much memory it has, and what it costs to run it again.

Jobs are commands of their own, as a schedule has them, and start their own Ray.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from projner.bench import measure
from projner.bench.measure import Report
from projner.demo.write_corpus import CORPUS
from projner.errors import JobError

SAMPLE_SECONDS = 0.5
MORE = 1000
"""Sentence pairs that are added before the last refresh."""


def bench(rows: Sequence[int] = (100_000, 1_000_000), repeats: int = 1) -> Report:
    """Project as many sentence pairs as `rows` says, refresh that, add some pairs and refresh again.

    Raises JobError where the memory of processes cannot be read, which is everywhere but on Linux.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise JobError("bench refresh reads the memory of processes from /proc, which is not here")
    table: list[dict[str, Any]] = []
    expected = True
    for count, _ in itertools.product(rows, range(repeats)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for what, more, computed in (
                ("first", 0, count),
                ("refresh, nothing new", 0, 0),
                (f"refresh, {MORE:,} new", MORE, MORE),
            ):
                job = _write(folder, count + more)
                done, seconds, peak = _measured(["refresh", str(job), "--json"])
                expected &= (done["computed"], done["rows"]) == (computed, count + more)
                table.append(
                    {
                        "job": what,
                        "rows": count + more,
                        "computed": done["computed"],
                        "seconds": measure.rounded(seconds),
                        "rows/s": measure.rounded(done["computed"] / seconds),
                        "peak MB": round(peak / 1e6),
                    }
                )
    peaks = {each["rows"]: each["peak MB"] for each in table if each["job"] == "first"}
    least, most = min(peaks), max(peaks)
    return Report(
        "a job that is run again and again",
        table,
        float(expected),
        [
            "Every job computed what was new, and nothing else."
            if expected
            else "SOME JOB COMPUTED MORE, OR LESS, THAN WHAT WAS NEW.",
            f"Peak memory at {most:,} rows is {peaks[most] / peaks[least]:.2f} times that at {least:,}.",
            "seconds: of the whole command, Python and Ray included. peak MB: of its process tree; what "
            "processes share is shared out among them.",
            "The corpus is the demo's sentence pairs with their labels and links, each with a number "
            "of its own at its end.",
        ],
        measure.signature(["ray", "pyarrow", "numba"], rows=",".join(map(str, rows))),
    )


def _write(folder: Path, rows: int) -> Path:
    """A job on `rows` different sentence pairs; the first are the same, however many there are."""
    source, target = (
        (CORPUS / name).read_text(encoding="utf-8").strip("\n").split("\n\n")
        for name in ("train.eng.conll", "train.swh.conll")
    )
    words = [[line.split(" ")[0] for line in block.split("\n")] for block in target]
    links = (CORPUS / "train.eng-swh.pharaoh").read_text(encoding="utf-8").splitlines()
    files = [folder / name for name in ("source.conll", "target.txt", "links.pharaoh")]
    pairs = itertools.cycle(zip(source, words, links, strict=True))
    with (
        files[0].open("w", encoding="utf-8") as sources,
        files[1].open("w", encoding="utf-8") as targets,
        files[2].open("w", encoding="utf-8") as linked,
    ):
        for number, (block, sentence, link) in enumerate(itertools.islice(pairs, rows)):
            sources.write(f"{block}\n{number} O\n\n")
            targets.write(f"{' '.join(sentence)} {number}\n")
            last = block.count("\n") + 1
            linked.write(f"{link} {last}-{len(sentence)}\n")
    corpus = {
        "format": "bitext",
        **dict(zip(("source", "target", "links"), map(str, files), strict=True)),
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
    }
    job = folder / "job.yaml"
    job.write_text(yaml.safe_dump({"corpus": corpus, "output": str(folder / "out")}))
    return job


def _measured(arguments: Sequence[str]) -> tuple[dict[str, Any], float, int]:
    """What a command of projner's printed, its seconds, and the most bytes that its processes had."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "projner.cli", *arguments]
    began = time.perf_counter()
    peak = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=errors)
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.perf_counter() - began
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(errors.read().decode(errors="replace"))
        return json.loads(out.read()), seconds, peak


def _memory(pid: int) -> int:
    """Bytes that a process and those that it started have, with their parts of what is shared."""
    total = 0
    for each in _tree(pid):
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
        )
    return total * 1024


def _tree(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found
