"""Entities that are too doubtful are left out, and can be seen."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import config, methods, record
from projner.config import Project
from projner.errors import JobError
from projner.project import arrays
from projner.project.abstain import Abstain
from projner.stage import run
from projner.tags import Span, to_tags
from tests.project.test_filters import row


def project(rows: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    table = pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))
    stages = methods.projection_stages(Project(**settings))
    done = methods.apply(stages, table)
    done.select([name for name in record.COLUMNS if name in done.column_names]).validate(full=True)
    return done.to_pylist()


# Of three words two are linked, and a part of it would do; the place has its one word to itself.
PAIR = row("[PER Ada Byron King] [LOC Rome]", "Ada Byron na Roma", "0-0 1-1 3-3")
ALIGN = {"score": "align", "surface": None}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (ALIGN, "PL"),
        (ALIGN | {"min_score": 0.79}, "PL"),
        (ALIGN | {"min_score": 0.81}, "L"),
        (ALIGN | {"min_margin": 0.29}, "PL"),
        (ALIGN | {"min_margin": 0.31}, "L"),
        (ALIGN | {"min_score": 2}, ""),
        (ALIGN | {"min_confidence": 1}, ""),
        (ALIGN | {"min_confidence": 0}, "PL"),
        ({"method": "heuristic", "ratio": 0.5, "min_score": 0.9}, "L"),
        ({"method": "span", "min_score": 0.9}, "L"),
        ({"method": "span", "min_confidence": 1}, ""),
    ],
    ids=str,
)
def test_what_is_left(settings: dict[str, Any], left: str) -> None:
    quiet = row("It rained", "Mvua ilinyesha", "1-1")
    done, empty = project([PAIR, quiet], **settings)
    spans = {"P": Span(0, 2, "PER"), "L": Span(3, 4, "LOC")}
    wanted = [spans[name] for name in left]
    assert [Span(e["start"], e["end"], e["label"]) for e in done["target_entities"]] == wanted
    assert done["ner_tags"] == to_tags(wanted, 4)
    assert (done["status"], done["tokens"]) == ("ok", PAIR["target_tokens"])
    if settings.keys() & {"min_score", "min_margin", "min_confidence"}:
        others = [span for name, span in spans.items() if name not in left]
        assert [Span(e["start"], e["end"], e["label"]) for e in done["abstained"]] == others
        assert empty["abstained"] == empty["target_entities"] == []
        assert empty["ner_tags"] == ["O", "O"]
    else:
        assert "abstained" not in done


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=4), max_size=6))
def test_some_items_of_lists(rows: list[list[str]]) -> None:
    column = pa.array([None if row == ["a"] else row for row in rows], pa.list_(pa.string()))
    flat = [item for row in rows if row != ["a"] for item in row]
    items = [item == "b" for item in flat]
    expected = [[item for item in row if item == "b"] for row in rows]
    import numpy as np

    assert arrays.kept(column, np.array(items, bool)).to_pylist() == expected


def test_an_entity_without_a_margin_has_none_that_is_too_low() -> None:
    entity = {"start": 0, "end": 1, "label": "PER", "score": 0.3, "margin": None}
    entity |= {"confidence": None, "source_index": 0}
    given_row = {"target_tokens": ["Ada"], "target_entities": [entity], "ner_tags": ["B-PER"]}
    given_row |= {"status": "ok", "status_detail": None}
    table = pa.Table.from_pylist([given_row], schema=record.schema(list(given_row)))
    (done,) = run(Abstain(Project(min_margin=0.5)), table).to_pylist()
    assert done["abstained"] == []
    (done,) = run(Abstain(Project(min_score=0.5)), table).to_pylist()
    assert [each["label"] for each in done["abstained"]] == ["PER"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "heuristic", "min_margin": 0.1}, "min_margin needs method match and an exact"),
        ({"solver": "greedy", "min_margin": 0.1}, "min_margin needs method match and an exact"),
        ({"min_confidence": 2}, "min_confidence"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    corpus = {"format": "bitext", "source": "s", "target": "t", "source_lang": "en"}
    with pytest.raises(JobError, match=message):
        config.build({"corpus": {**corpus, "target_lang": "sw"}, "project": settings})


@pytest.mark.parametrize(
    "settings",
    [{"score": {"align": 1, "align_gap": 1}}, {"solver": "greedy"}, {"limit": 2}],
    ids=str,
)
def test_where_nobody_knows_how_sure_a_projection_is(settings: dict[str, Any]) -> None:
    with pytest.raises(JobError, match=r"project.min_confidence: .*; use min_score"):
        methods.projection_stages(Project(**settings, min_confidence=0.5))
    (done,) = project([PAIR], **settings)
    assert {entity["confidence"] for entity in done["target_entities"]} == {None}
