from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.translate.checks import cap, flaw, loops

TEXT = list(range(20))


def _flaw(translation: list[int], text: list[int] = TEXT, ended: bool = True) -> str | None:
    return flaw(text, translation, ended=ended, cap=50, min_ratio=0.2)


@pytest.mark.parametrize(
    ("translation", "text", "ended", "expected"),
    [
        (TEXT, TEXT, True, None),
        (TEXT[:4], TEXT, True, None),
        (list(range(50)), TEXT, True, None),
        ([], TEXT, True, "the translation is empty"),
        ([], TEXT, False, "the translation is empty"),
        (TEXT, TEXT, False, "the translation has no end within 50 sub-words"),
        (list(range(51)), TEXT, True, "the translation has no end within 50 sub-words"),
        (TEXT[:3], TEXT, True, "the translation has 3 sub-words for 20"),
        ([1, 2] * 8, TEXT, True, "the translation repeats itself"),
        ([1, 2] * 8, [7] * 16, True, None),
    ],
)
def test_flaws(translation: list[int], text: list[int], ended: bool, expected: str | None) -> None:
    assert _flaw(translation, text, ended) == expected


@pytest.mark.parametrize(
    ("length", "ratio", "limit", "expected"),
    [(0, 3.0, 254, 20), (10, 3.0, 254, 50), (7, 0.5, 254, 24), (100, 3.0, 254, 254)],
)
def test_caps(length: int, ratio: float, limit: int, expected: int) -> None:
    assert cap(length, ratio, limit) == expected


def _loops_slowly(ids: list[int]) -> bool:
    """Every start and period, one by one."""
    for period in range(1, 17):
        size = max(4 * period, 16)
        block = [*range(period)] * size
        for start in range(len(ids) - size + 1):
            if all(ids[start + n] == ids[start + block[n]] for n in range(size)):
                return True
    return False


ids = st.lists(st.integers(0, 2), max_size=8)


@given(ids, ids, st.integers(0, 9), ids)
def test_loops_are_those_found_slowly(
    before: list[int], block: list[int], rounds: int, after: list[int]
) -> None:
    row = before + block * rounds + after
    assert loops(row) == _loops_slowly(row)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([5] * 16, True),
        ([5] * 15, False),
        ([1, *[2, 3] * 8, 4], True),
        ([1, *[2, 3] * 7, 2, 4], False),
        ([*range(16)] * 4, True),
        ([*range(16)] * 3, False),
        ([*range(17)] * 4, False),
        ([], False),
    ],
)
def test_loops(row: list[int], expected: bool) -> None:
    assert loops(row) is expected
