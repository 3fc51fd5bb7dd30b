"""Symmetrised links: tables, containment, and a run of the usual tools on Europarl as the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.align.symmetrise import METHODS, symmetrise

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

    sides = zip(read("forward"), read("reverse"), strict=True)
    assert [set(combined(f, r, method)) for f, r in sides] == read(stored)
