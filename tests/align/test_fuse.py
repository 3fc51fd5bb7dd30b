"""Several aligners as one: which links stay, and what they score."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import record
from projner.align.fuse import FusedAligner, fuse
from projner.align.surface import SurfaceAligner

LINKS = st.lists(
    st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.just(0.5), max_size=5),
    min_size=3,
    max_size=3,
)


def column(rows: list[dict[tuple[int, int], float]]) -> pa.ChunkedArray:
    values = [
        [{"source": s, "target": t, "score": score} for (s, t), score in row.items()]
        for row in rows
    ]
    return pa.chunked_array([pa.array(values, pa.list_(record.LINK))])


@given(st.lists(LINKS, min_size=1, max_size=4))
def test_a_link_stays_with_half_of_the_votes(aligners: list) -> None:
    fused = fuse([column(rows) for rows in aligners]).to_pylist()
    for number, row in enumerate(fused):
        votes = Counter(link for rows in aligners for link in rows[number])
        expected = {
            link: 0.5 * count / len(aligners)
            for link, count in votes.items()
            if 2 * count >= len(aligners)
        }
        assert [(link["source"], link["target"]) for link in row] == sorted(expected)
        for link in row:
            assert link["score"] == pytest.approx(expected[link["source"], link["target"]])


def test_of_two_aligners_either_is_enough() -> None:
    rows = {
        "source_tokens": [["Amina", "Tel", "7"]],
        "target_tokens": [["amina", "Tal", "7"]],
        "status": ["ok"],
        "status_detail": [None],
    }
    table = pa.table(rows, schema=record.schema(list(rows)))
    strict, lenient = SurfaceAligner(1.0), SurfaceAligner(0.6)
    links = FusedAligner([strict, lenient])(table)["links"].to_pylist()[0]
    assert [(link["source"], link["target"]) for link in links] == [(0, 0), (1, 1), (2, 2)]
    assert [link["score"] < 1 for link in links] == [False, True, False]
