"""The page about clusters and the dashboard: what they name is there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from projner import metrics
from tests.cluster.commands import check, commands
from tests.conftest import ROOT

PAGE = (ROOT / "cluster" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
DASHBOARD = json.loads((ROOT / "cluster" / "grafana" / "projner.json").read_text(encoding="utf-8"))
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
]


def without_comments(block: str) -> str:
    return re.sub(r"(?m)(?:^|\s{2,})#.*$", "", block)


@pytest.mark.parametrize("block", BLOCKS)
def test_commands_of_the_page_exist(block: str) -> None:
    pytest.importorskip("aiohttp", reason="needs projner[cluster]")
    found = list(commands(without_comments(block)))
    assert found
    for words in found:
        check(words)


@pytest.mark.parametrize(
    "line",
    [
        "projner plan job.yaml --sentence 1e9 --hour",
        "projner plain job.yaml",
        "ray job submit --adress x -- true",
        "ray jobs list",
        "ray job submit -- projner project job.yaml --fast",
        "ray job submit -- python jobs/projects.py job.yaml",
        "kubectl apply -f cluster/kuberay/cluster.yaml",
        "pip install '.[model]'",
        "raystart --head",
    ],
)
def test_commands_that_do_not_exist_are_seen(line: str) -> None:
    pytest.importorskip("aiohttp", reason="needs projner[cluster]")
    (words,) = commands(line)
    with pytest.raises((AssertionError, OSError)):
        check(words)


def test_links_and_files_of_the_page_exist() -> None:
    titles = re.findall(r"^#+ (.+)$", PAGE, re.M)
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    named = re.findall(r"`((?:vms|kuberay|slurm|grafana|docker)/[\w.*-]*)`", PAGE)
    assert len(named) > 5
    for name in named:
        assert list((ROOT / "cluster").glob(name.rstrip("/"))), name
    files = {path for path in (ROOT / "cluster").rglob("*.yaml") if path.parent.name != "cluster"}
    for path in files:
        assert path.name in PAGE, f"{path.name} is in no line of the page"


def test_the_page_lists_every_metric() -> None:
    named = set(re.findall(r"`ray_(projner_\w+)_total`", PAGE))
    assert named == set(metrics.COUNTERS)


def ours(query: str) -> dict[str, tuple[str, ...]]:
    """Our counters in a query, with their labels."""
    found = re.findall(r"\bray_(projner_\w+?)_total\b", query)
    return {name: metrics.COUNTERS[name][1] for name in found}


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_queries_name_metrics_and_labels_that_there_are(title: str, query: str) -> None:
    known = ours(query)
    others = set(re.findall(r"\b(?:ray|autoscaler)_\w+", query)) - {f"ray_{n}_total" for n in known}
    assert known or others
    # Ray's own are those that its dashboards show.
    folder = Path(sys.modules["ray"].__file__ or "").parent / "dashboard/modules/metrics/dashboards"
    shown = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for name in others:
        assert re.search(rf"\b{name}\b", shown), name
    for labels in known.values():
        selected = set(re.findall(r"(\w+)=~?\"", query))
        grouped = {
            label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")
        }
        assert selected | grouped <= set(labels)
    assert query.count("(") == query.count(")")


def test_the_dashboard_shows_all_that_is_published() -> None:
    shown = {name for _, query in QUERIES for name in ours(query)}
    assert shown == set(metrics.COUNTERS)
    (source, run) = DASHBOARD["templating"]["list"]
    assert source["type"] == "datasource"
    assert set(ours(run["query"])) <= set(metrics.COUNTERS)
    places: list[dict[str, Any]] = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert len({(place["x"], place["y"]) for place in places}) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
