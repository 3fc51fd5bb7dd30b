"""How sure a projection is: what it follows from, and how well it holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from projner import methods, record
from projner.config import Project
from projner.project import confidence
from tests.project.test_filters import row
from tests.project.test_stages import some_rows


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def one_by_one(made: dict[str, Any], projected: dict[str, Any]) -> list[float]:
    """The features, as their descriptions have them."""
    entity = made["source_entities"][projected["source_index"]]
    links = {(link["source"], link["target"]) for link in made["links"]}
    words = range(entity["start"], entity["end"])
    span = range(projected["start"], projected["end"])
    own = {(s, t) for s, t in links if s in words}
    n, m = len(words), len(span)
    return [
        1,
        projected["score"],
        projected["margin"] or 0,
        math.log(n),
        math.log(m),
        abs(math.log(m / n)),
        len({s for s, t in own if t in span}) / n,
        len({t for s, t in own if t in span}) / m,
        len({t for s, t in links - own if t in span}) / m,
        min(3, len({t for s, t in own if t not in span})),
    ]


@pytest.mark.parametrize("settings", [{}, {"method": "span"}, {"score": "align"}], ids=str)
def test_features(settings: dict[str, Any]) -> None:
    rows = [row("It rained", "Mvua", ""), *some_rows(4, 60)]
    done = methods.apply(methods.projection_stages(Project(**settings)), table(rows)).to_pylist()
    found = [(n, each) for n, made in enumerate(done) for each in made["target_entities"]]
    names = ("source_index", "start", "end", "score", "margin")
    columns = [
        np.array([each[name] for _, each in found], float if name in names[3:] else int)
        for name in names
    ]
    index = np.array([n for n, _ in found])
    given = confidence.features(table(rows), index, *columns)
    expected = np.array([one_by_one(rows[n], each) for n, each in found], float)
    assert given == pytest.approx(expected, abs=1e-6)
    weights = confidence.coefficients(Project(**settings))
    assert weights is not None
    assert confidence.probabilities(given, weights) == pytest.approx(
        [each["confidence"] for _, each in found], abs=1e-5
    )
    no_projections = confidence.features(table(rows), *(column[:0] for column in [index, *columns]))
    assert no_projections.shape == (0, len(confidence.FEATURES))


def test_a_doubtful_label_makes_a_doubtful_projection() -> None:
    sure = row("[PER Ada] left", "Ada aliondoka", "0-0 1-1")
    doubtful = row("[PER Ada] left", "Ada aliondoka", "0-0 1-1")
    doubtful["source_entities"][0]["score"] = 0.5
    stages = methods.projection_stages(Project())
    first, second = (
        each["target_entities"][0]["confidence"]
        for each in methods.apply(stages, table([sure, doubtful])).to_pylist()
    )
    assert 0.8 < first < 1
    assert second == pytest.approx(first / 2)


def test_every_way_to_project_by_links_has_coefficients() -> None:
    kinds = {confidence.kind(project) for project in methods.usable().values()}
    assert kinds == {"evidence", "align", "align_gap", "heuristic", "span"}
    for project in methods.usable().values():
        assert confidence.coefficients(project) is not None


def test_other_coefficients_are_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = methods.projection_stages(Project())[-1].settings()
    known = dict.fromkeys(confidence.FEATURES, 1.0)
    monkeypatch.setattr(confidence, "_read", lambda: {"evidence": known})
    assert methods.projection_stages(Project())[-1].settings() != before
