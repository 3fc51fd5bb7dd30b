"""Symmetrised links: tables, containment, and a run of the usual tools on Europarl as the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.align.symmetrise import METHODS, symmetrise
from projner.align.symmetrise_kernel import symmetrise_all
from projner.columns import Lists

LINKS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=10)


def combined(forward: set, reverse: set, method: str) -> list[tuple[int, int]]:
    arrays = [np.array(sorted(links), np.int32).reshape(-1, 2) for links in (forward, reverse)]
    return [(source, target) for source, target in symmetrise(*arrays, method).tolist()]


@pytest.mark.parametrize(
    ("method", "links"),
    [
        ("intersection", [(0, 0)]),
        ("union", [(0, 0), (1, 1), (1, 2), (4, 4)]),
        ("forward", [(0, 0), (1, 1)]),
        ("reverse", [(0, 0), (1, 2), (4, 4)]),
        ("grow-diag-final-and", [(0, 0), (1, 1), (1, 2), (4, 4)]),
    ],
)
def test_small_table(method: str, links: list[tuple[int, int]]) -> None:
    assert combined({(0, 0), (1, 1)}, {(0, 0), (1, 2), (4, 4)}, method) == links


@given(LINKS, LINKS)
def test_methods_contain_each_other(forward: set, reverse: set) -> None:
    found = {method: set(combined(forward, reverse, method)) for method in METHODS}
    grown = found["grow-diag-final-and"]
    assert found["intersection"] <= grown <= found["union"]
    for source, target in found["union"] - grown:
        linked = {s for s, _ in grown}, {t for _, t in grown}
        assert source in linked[0] or target in linked[1]


def lists(rows: list[set[tuple[int, int]]]) -> Lists:
    """Rows of links, each row's in no order."""
    flat = np.array([link for row in rows for link in sorted(row, key=hash)], np.int32)
    source, target = flat.reshape(-1, 2).T
    return Lists(np.cumsum([0, *map(len, rows)]), {"source": source, "target": target})


@given(st.lists(st.tuples(LINKS, LINKS), max_size=8), st.sampled_from(METHODS))
def test_a_table_is_its_rows_one_by_one(rows: list[tuple[set, set]], method: str) -> None:
    forward, reverse = [row[0] for row in rows], [row[1] for row in rows]
    found = symmetrise_all(lists(forward), lists(reverse), method)
    links = found.pairs("source", "target").tolist()
    expected = [combined(*row, method) for row in rows]
    assert [list(map(tuple, links[row])) for row in found.rows()] == expected


@pytest.mark.parametrize("language", ["de", "es"])
@pytest.mark.parametrize(
    ("method", "stored"), [("intersection", "intersection"), ("grow-diag-final-and", "gdfa")]
)
def test_every_europarl_pair_as_stored(
    shared_data: Path, language: str, method: str, stored: str
) -> None:
    def read(kind: str) -> list[set[tuple[int, int]]]:
        path = shared_data / "europarl_ner" / f"en-{language}.eflomal.{kind}.pharaoh"
        lines = path.read_text(encoding="ascii").splitlines()
        return [{tuple(map(int, link.split("-"))) for link in line.split()} for line in lines]  # type: ignore[misc]

    forward, reverse = read("forward"), read("reverse")
    sides = zip(forward, reverse, strict=True)
    assert [set(combined(f, r, method)) for f, r in sides] == read(stored)
    found = symmetrise_all(lists(forward), lists(reverse), method)
    links = found.pairs("source", "target").tolist()
    assert [set(map(tuple, links[row])) for row in found.rows()] == read(stored)
