"""Filters for training data: which sentences stay, and what is said of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import methods, record
from projner.config import Project
from projner.project import filters
from tests.conftest import labelled


def pairs(values: Any) -> np.ndarray:
    return np.array(values, np.int32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("entities", "links", "expected"),
    [
        ([(0, 2)], [(0, 0), (1, 1)], None),
        ([(0, 2)], [(0, 0), (2, 1)], 1),
        ([(0, 1), (2, 4)], [(0, 0), (2, 2)], 3),
        # Words outside of entities need no link.
        ([(0, 1)], [(0, 5)], None),
        ([], [], None),
        ([(0, 1)], [], 0),
    ],
)
def test_comp_src(entities: Any, links: Any, expected: int | None) -> None:
    assert filters.unlinked(pairs(entities), pairs(links)) == expected


@pytest.mark.parametrize(
    ("entities", "links", "expected"),
    [
        ([(0, 2)], [(0, 3), (1, 4)], None),
        ([(0, 2)], [(0, 4), (1, 3), (0, 3)], None),
        ([(0, 2)], [(0, 3), (1, 5)], 0),
        ([(0, 1), (1, 2)], [(0, 3), (1, 5), (1, 7)], 1),
        # What lies between may be linked elsewhere.
        ([(0, 2)], [(0, 3), (1, 5), (4, 4)], 0),
        ([(0, 2)], [], None),
    ],
)
def test_comp_tgt(entities: Any, links: Any, expected: int | None) -> None:
    assert filters.scattered(pairs(entities), pairs(links)) == expected


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([], [], None),
        (["PER", "LOC"], ["LOC", "PER"], None),
        (["PER", "LOC"], ["LOC"], "PER"),
        (["PER"], ["PER", "PER"], "PER"),
        (["PER", "LOC"], ["ORG", "PER"], "LOC"),
    ],
)
def test_comp_ins(source: Any, target: Any, expected: str | None) -> None:
    assert filters.miscounted(source, target) == expected


LINKS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12, unique=True)


@given(LINKS)
def test_rstr_tgt(links: list[tuple[int, int]]) -> None:
    expected = sorted((s, min(t for a, t in links if a == s)) for s in {s for s, _ in links})
    assert [tuple(link) for link in filters.first_only(pairs(links)).tolist()] == expected


def row(source: str, target: str, links: str | None) -> dict[str, Any]:
    tokens, spans = labelled(source)
    found = [[int(end) for end in link.split("-")] for link in (links or "").split()]
    return {
        "source_tokens": tokens,
        "target_tokens": target.split(),
        "source_entities": [{**span._asdict(), "score": 1.0} for span in spans],
        "links": [{"source": s, "target": t, "score": 0.5} for s, t in found],
        "status": "ok",
        "status_detail": None,
    }


def project(rows: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    table = pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))
    stages = methods.projection_stages(Project(**{"method": "span", **settings}))
    return methods.apply(stages, table).to_pylist()


ROWS = [
    row("[PER Ada Byron] left [LOC Rome]", "Ada Byron aliondoka Roma", "0-0 1-1 2-2 3-3"),
    row("[PER Ada Byron] left", "Ada Byron aliondoka", "0-0 2-2"),
    row("[PER Ada Byron] left", "Ada na Byron", "0-0 1-2"),
    # The second one's word is taken.
    row("[PER Ada] [PER Eva]", "Ada", "0-0 1-0"),
    row("It rained", "Mvua ilinyesha", "1-1"),
]


@pytest.mark.parametrize(
    ("chosen", "details"),
    [
        ("COMP-SRC", {1: "COMP-SRC: source word 1 of an entity has no link"}),
        ("COMP-TGT", {2: "COMP-TGT: the target words of entity 0 are not consecutive"}),
        (["COMP-INS"], {3: "COMP-INS: 2 entities of class PER became 1"}),
        (
            ["COMP-INS", "COMP-TGT", "COMP-SRC"],
            {
                1: "COMP-SRC: source word 1 of an entity has no link",
                2: "COMP-TGT: the target words of entity 0 are not consecutive",
                3: "COMP-INS: 2 entities of class PER became 1",
            },
        ),
        ("RSTR-TGT", {}),
    ],
)
def test_sentences_are_filtered(chosen: Any, details: dict[int, str]) -> None:
    done = project(ROWS, filters=chosen)
    assert {
        n: row["status_detail"] for n, row in enumerate(done) if row["status"] != "ok"
    } == details
    for number, each in enumerate(done):
        assert each["status"] == ("filtered" if number in details else "ok")
        assert (each["ner_tags"] is None) == (each["tokens"] is None) == (number in details)
        # What was projected stays to be looked at.
        assert (each["target_entities"] == []) == (number == 4)


@given(st.lists(LINKS, max_size=5))
def test_links_are_restricted_before_they_are_used(many: list[list[tuple[int, int]]]) -> None:
    texts = [" ".join(f"{s}-{t}" for s, t in links) for links in many]
    rows = [row("[PER a b] c d [LOC e f]", "u v w x y z", links) for links in [*texts, "0-4 0-1"]]
    done = project(rows, filters="RSTR-TGT")
    for each, links in zip(done, [*many, [(0, 4), (0, 1)]], strict=True):
        left = [(link["source"], link["target"]) for link in each["links"]]
        assert left == [(s, t) for s, t in links if t == min(other for a, other in links if a == s)]
        assert all(link["score"] == 0.5 for link in each["links"])
    assert [(e["start"], e["end"]) for e in done[-1]["target_entities"]] == [(1, 2)]
