"""What a running job tells whoever watches it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projner import config, pipeline, progress
from projner.progress import Progress, Stretch
from projner.report import live
from projner.report.chatter import Chatter
from tests.conftest import PAIRS, ROOT

Bitext = Callable[..., dict[str, Any]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that progress goes by, in a list so that a test can set it."""
    now = [100.0]
    monkeypatch.setattr(progress, "now", lambda: now[0])
    return now


def test_a_job_tells_its_runs_rows_and_statuses(ray_session: str, bitext: Bitext) -> None:
    job = bitext(on_error="status")
    links = Path(job["corpus"]["root"]) / "links.pharaoh"
    links.write_text(links.read_text().replace("0-0", "0-99", 1))
    del job["corpus"]["links"]
    job |= {"align": {"engine": "surface"}}
    watched, begun = Progress(), []
    watched.on_begun = lambda: begun.append(Path(job["output"]).exists())
    with progress.watched(watched):
        result = pipeline.project(config.build(job))
        _, doing, planned, stretches = watched.seen()
        assert (doing, planned) == ("publishing", ("surface", "project"))
        assert [(each.name, each.total, each.there, each.done) for each in stretches] == [
            ("surface", len(PAIRS), 0, len(PAIRS)),
            ("project", len(PAIRS), 0, len(PAIRS)),
        ]
        assert all(each.over for each in stretches)
        assert dict(stretches[-1].counts) == result.snapshot.statuses
        # What shards say they took is what the snapshot adds up.
        assert stretches[0].stages["surface"] == pytest.approx(result.parts[0].stages["surface"])
        assert begun[0] is False
        pipeline.project(config.build(job))
    stretches = watched.seen()[3]
    assert [(each.there, each.done) for each in stretches] == [(len(PAIRS), 0)] * 2


def test_rate_and_time_left_go_by_what_was_done(clock: list[float]) -> None:
    watched = Progress()
    watched.begin("align", 1000, there=200)
    assert watched.stretches[0].left(clock[0]) is None
    clock[0] = 110
    watched.add(100, {"ok": 90, "empty": 10}, {"align": 9.0, "read": 1.0})
    assert watched.stretches[0].rate == 10
    # 700 rows are left, and for 5 of their 70 seconds nothing has been heard.
    assert watched.stretches[0].left(115) == 65
    assert watched.stretches[0].left(500) == 0


def test_a_training_that_goes_on_does_not_count_what_was_there(clock: list[float]) -> None:
    watched = Progress()
    watched.begin("training", 100, unit="steps")
    clock[0] = 200
    watched.reach(40, {"loss": 1.0})
    assert (watched.stretches[0].rate, watched.stretches[0].there) == (None, 40)
    clock[0] = 220
    watched.reach(40, {"loss": 1.0})
    watched.reach(50, {"loss": 0.5})
    assert watched.stretches[0].rate == 0.5
    assert watched.stretches[0].left(220) == 100


def busy(clock: list[float]) -> Progress:
    """A job in the second of three runs."""
    watched = Progress()
    watched.plan(["translate", "align", "project"])
    watched.begin("translate", 50_000, 50_000)
    watched.begin("align", 50_000)
    clock[0] += 40
    watched.add(4096, {"ok": 4090, "too_long": 6}, {"align": 30.0, "read": 10.0})
    return watched


def test_a_line_says_everything(clock: list[float]) -> None:
    watched = busy(clock)
    assert live.line(watched, clock[0]) == (
        "projner: 2/3 align: 4,096 of 50,000 sentences (8%), 102/s, 7 min left; ok 4,090, too_long 6"
    )
    watched.begin("project", 50_000)
    watched.does("loading models")
    assert live.line(watched, 300.0) == (
        "projner: loading models (3 min so far); next: 3/3 project"
    )
    watched.job("swahili: span (2 of 8)")
    watched.does("reading the corpus")
    assert live.line(watched, 130.0) == (
        "projner: swahili: span (2 of 8): reading the corpus (30 s so far)"
    )
    training = Progress()
    training.begin("training", 100, unit="steps")
    training.reach(40, {"loss": 0.51234, "F1": 0.8})
    assert live.line(training, clock[0]) == (
        "projner: training: 40 of 100 steps (40%); loss 0.5123, F1 0.8"
    )


def test_the_same_as_json(clock: list[float]) -> None:
    told = json.loads(json.dumps(live.as_json(busy(clock), clock[0])))
    assert told["planned"] == ["translate", "align", "project"]
    assert [each["done"] for each in told["stretches"]] == [0, 4096]
    assert told["stretches"][1]["statuses"] == {"ok": 4090, "too_long": 6}
    assert told["stretches"][1]["per_second"] == 102.4


@pytest.mark.parametrize("width", [20, 100])
def test_a_picture_has_a_line_for_every_run(clock: list[float], width: int) -> None:
    from rich.console import Console

    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=False, color_system=None)
    console.print(live.picture(busy(clock), clock[0]))
    lines = written.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    if width == 100:
        assert lines[0] == "projner  starting  40 s"
        assert [line.split()[0] for line in lines[1:4]] == ["translate", "align", "project"]
        assert lines[1].split()[-1] == "done"
        assert lines[2].split()[-5:] == ["4,096/50,000", "102/s", "7", "min", "left"]
        assert lines[4:] == ["ok 4,090, too_long 6", "time in align 75%, read 25%"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3570, "1 h 0 min"), (11_100, "3 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert live.duration(seconds) == text


def test_nothing_done_has_no_share() -> None:
    assert live.share(Stretch("project", 0)) == 0
    assert live.share(Stretch("project", 10, there=10)) == 1


CHATTY = """
import os, sys
from projner.progress import current
from projner.report import live
with live.shown(sys.argv[1], sys.argv[2], every=0.01) as chatter:
    print("to stdout"); print("to stderr", file=sys.stderr)
    if sys.argv[3] == "begins":
        current().on_begun()
        assert open([*os.scandir(sys.argv[1] + "/logs")][0].path).read() == "to stdout\\nto stderr\\n"
    os.write(1, b"from C\\n")
    import time; time.sleep(0.1)
print("result", chatter.location)
"""


@pytest.mark.parametrize(
    ("begins", "view"), [("begins", "person"), ("begins", "json"), ("refused", "none")]
)
def test_what_libraries_print_goes_to_a_log(begins: str, view: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-uc", CHATTY, str(out), view, begins],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    logs = [*(out / "logs").glob("*.log")]
    assert done.stdout == f"result {logs[0] if logs else None}\n", done.stderr
    assert out.exists() == (begins == "begins")
    if logs:
        assert logs[0].read_text() == "to stdout\nto stderr\nfrom C\n"
    told = done.stderr.splitlines()
    if view == "json":
        assert json.loads(told[0])["doing"] == "starting"
    elif view == "person":
        assert told[0] == "projner: starting (0 s so far)"
    else:
        assert told == []


def test_a_log_without_a_line_is_not_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chatter = Chatter(tmp_path / "out")
    with capfd.disabled(), chatter.capture():
        chatter.begin()
    assert chatter.location is None
    assert not (tmp_path / "out" / "logs").exists()


def test_progress_is_for_several_threads(clock: list[float]) -> None:
    watched = Progress()
    watched.begin("project", 4000)
    threads = [
        threading.Thread(target=lambda: [watched.add(1, {"ok": 1}) for _ in range(1000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watched.seen()[3][0].counts == {"ok": 4000}
