"""What a job publishes, as a Prometheus would read it, and where its seconds end up."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import config, metrics, pipeline, record
from projner.report import summary
from projner.stage import Stage
from tests.conftest import PAIRS, Pair

if TYPE_CHECKING:
    from projner.demo.models import Models

Bitext = Callable[..., dict[str, Any]]
SAMPLE = re.compile(r"^ray_(projner_\w+)_total\{(.*)\} (\S+)$", re.MULTILINE)
TAG = re.compile(r'(\w+)="([^"]*)"')


def scraped(ray_session: str, run: str) -> dict[tuple[str, ...], float]:
    """A run's counters by name and tags, over all processes, as its node exports them now."""
    import ray

    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    found: dict[tuple[str, ...], float] = {}
    for name, labels, value in SAMPLE.findall(text):
        tags = dict(TAG.findall(labels))
        if tags.pop("run") == run:
            _, own = metrics.COUNTERS[name]
            key = (name.removeprefix("projner_"), *(tags[tag] for tag in own if tag != "run"))
            found[key] = found.get(key, 0.0) + float(value)
    return found


def eventually(ray_session: str, run: str, written: int) -> dict[tuple[str, ...], float]:
    """The same once all rows have arrived there: processes report every ten seconds."""
    found: dict[tuple[str, ...], float] = {}
    for _ in range(240):
        found = scraped(ray_session, run)
        if found.get(("stage_sentences", "write"), 0) >= written:
            return found
        time.sleep(0.25)
    pytest.fail(f"after a minute: {found}")


@pytest.mark.slow
def test_prometheus_sees_what_a_run_did(
    bitext: Bitext, ray_session: str, demo_models: Models
) -> None:
    # Without links the third has nothing to go by, and without words the fourth is empty.
    pairs = [*PAIRS[:2], Pair("[PER Ada] sang .", "Mvua ilinyesha .", ""), Pair("", "", "")]
    job = bitext(pairs)
    # No other test's run has the same fingerprint: this Ray may have counted for that one before.
    job["label"] = {"model": str(demo_models.tagger), "overlap": 3}
    # Not given: labelled by a model in an actor.
    folder = Path(job["corpus"]["root"])
    text = (folder / "source.conll").read_text(encoding="utf-8")
    blocks = [" ".join(re.findall(r"^(\S+) \S+$", b, re.M)) for b in text.split("\n\n")]
    (folder / "source.txt").write_text("\n".join(blocks[: len(pairs)]) + "\n", encoding="utf-8")
    job["corpus"]["source"] = "source.txt"
    result = pipeline.project(config.build(job))
    rows = result.run.read(result.snapshot)
    first = result.snapshot.parent
    assert first is not None
    labelled = eventually(ray_session, first, len(pairs))
    projected = eventually(ray_session, result.run.fingerprint, len(pairs))

    assert result.snapshot.statuses == {"empty": 1, "ok": 3}
    for found in (labelled, projected):
        assert found["sentences", "swh_Latn", "ok"] == 3
        assert found["sentences", "swh_Latn", "empty"] == 1
    assert labelled["stage_sentences", "label"] == len(pairs)
    assert labelled["stage_tokens", "label"] > sum(len(pair.source.split()) for pair in pairs[:3])
    assert labelled["stage_padding", "label"] > 0
    assert projected["stage_sentences", "match"] == len(pairs)
    assert labelled["stage_seconds", "label"] > 0
    given = sum(len(row["source_entities"] or []) for row in rows.to_pylist())
    made = sum(result.snapshot.entities.values())
    assert projected["entities", "swh_Latn", "projected"] == made > 0
    assert projected.get(("entities", "swh_Latn", "abstained"), 0) == given - made

    # What was published is what the run remembers.
    parent = {**result.stages}
    for name in ("match", "surface"):
        assert parent[name] == pytest.approx(projected["stage_seconds", name], abs=2e-3)
    assert parent["label"] == pytest.approx(labelled["stage_seconds", "label"], abs=2e-3)
    assert "label" in summary.of_result(result)


def test_seconds_are_those_of_all_rows_whenever_computed(bitext: Bitext, ray_session: str) -> None:
    first = pipeline.project(config.build(bitext()))
    assert set(first.stages) == {"read", "surface", "match"}
    assert first.stages == first.snapshot.seconds
    again = pipeline.project(config.build(bitext()))
    assert again.stages == first.stages
    more = pipeline.project(config.build(bitext([*PAIRS, Pair("It shone .", "Jua .", "")])))
    assert more.computed == 1
    assert all(more.stages[name] >= spent for name, spent in first.stages.items())
    assert more.stages["match"] > first.stages["match"]


class Halves(Stage):
    """Says of what it was given how much it counted, as stages made of several do."""

    name: ClassVar[str] = "halves"
    inputs = ()
    outputs = ()

    def __init__(self) -> None:
        self.seen = 0

    def settings(self) -> dict[str, Any]:
        return {}

    def counters(self) -> dict[str, float]:
        return {"one_tokens": self.seen, "other_tokens": 2 * self.seen, "one_padding": 1}

    def __call__(self, table: pa.Table) -> pa.Table:
        self.seen += table.num_rows
        return table


def test_counters_are_published_as_they_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[tuple[str, float, dict[str, str]]] = []
    monkeypatch.setattr(
        metrics, "_add", lambda name, value, **tags: added.append((name, value, tags))
    )
    table = pa.table({"status": ["ok"] * 3, "status_detail": pa.nulls(3, pa.string())})
    stage = Halves()
    for _ in range(2):
        done = metrics.run_stage(stage, table, "r")
    assert done.num_rows == 3
    by_name: dict[str, list[float]] = {}
    for name, value, tags in added:
        assert tags == {"run": "r", "stage": "halves"}
        by_name.setdefault(name, []).append(value)
    assert by_name["projner_stage_tokens"] == [9, 9]
    assert by_name["projner_stage_padding"] == [0, 0]
    assert by_name["projner_stage_sentences"] == [3, 3]


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    spent=st.floats(0.001, 1000),
)
def test_seconds_survive_any_regrouping_of_rows(
    sizes: list[int], cuts: list[int], spent: float
) -> None:
    parts = [metrics.with_seconds(pa.table({"id": [0] * size}), "a", spent) for size in sizes]
    parts = [metrics.with_seconds(part, "b", 1.0) for part in parts]
    whole = pa.concat_tables(parts)
    bounds = sorted({0, whole.num_rows, *(cut % whole.num_rows for cut in cuts)})
    sums = {"a": 0.0, "b": 0.0}
    for start, end in pairwise(bounds):
        for name, seconds in metrics.seconds(whole.slice(start, end - start)).items():
            sums[name] += seconds
    assert sums == pytest.approx({"a": spent * len(sizes), "b": len(sizes)})


def table(rows: list[tuple[str, str, int, list[int]]]) -> pa.Table:
    """Rows of (language, status, number of source entities, source_index of each target one)."""
    entity = {"start": 0, "end": 1, "label": "PER", "score": 1.0}
    return pa.Table.from_pylist(
        [
            {
                "target_lang": language,
                "status": status,
                "source_entities": [entity] * given,
                "target_entities": [{**entity, "margin": None, "source_index": n} for n in made],
            }
            for language, status, given, made in rows
        ],
        schema=record.schema(["target_lang", "source_entities", "target_entities", "status"]),
    )


def test_an_entity_with_several_spans_is_projected_once() -> None:
    found = table(
        [
            ("swh_Latn", "ok", 3, [0, 2, 2]),
            ("swh_Latn", "ok", 3, [0]),
            ("hau_Latn", "ok", 1, []),
            ("hau_Latn", "error", 7, []),
        ]
    )
    assert metrics.outcomes(found) == {
        ("swh_Latn", "projected"): 3,
        ("swh_Latn", "abstained"): 3,
        ("hau_Latn", "projected"): 0,
        ("hau_Latn", "abstained"): 1,
    }
    assert metrics.statuses(found) == {
        ("swh_Latn", "ok"): 2,
        ("hau_Latn", "ok"): 1,
        ("hau_Latn", "error"): 1,
    }


def test_rows_without_entities_have_no_outcomes() -> None:
    found = table([("swh_Latn", "ok", 1, [])])
    assert metrics.outcomes(found.drop_columns(["target_entities"])) == {}
