"""Projected spans as Arrow columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from projner import record, tags
from projner.project import arrays
from projner.tags import Span


@st.composite
def labelled_rows(draw: st.DrawFn) -> list[tuple[int, list[Span]]]:
    rows = []
    for _ in range(draw(st.integers(0, 5))):
        spans, position = [], 0
        steps = st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["PER", "LOC"]))
        for gap, length, label in draw(st.lists(steps, max_size=4)):
            spans.append(Span(position + gap, position + gap + length, label))
            position += gap + length
        rows.append((position + draw(st.integers(0, 2)), spans))
    return rows


@given(labelled_rows())
def test_tags_are_those_of_the_tag_scheme(rows: list[tuple[int, list[Span]]]) -> None:
    flat = [span for _, spans in rows for span in spans]
    offsets = np.cumsum([0, *(len(spans) for _, spans in rows)])
    column = arrays.iob2(
        np.array([length for length, _ in rows], np.int64),
        offsets,
        np.array([span.start for span in flat], np.int64),
        np.array([span.end for span in flat], np.int64),
        pa.array([span.label for span in flat], pa.string()),
    )
    assert column.to_pylist() == [tags.to_tags(spans, length) for length, spans in rows]


def test_projected_entities_have_the_record_type() -> None:
    column = arrays.projected(
        np.array([0, 0, 1]),
        {
            "start": np.array([2]),
            "end": np.array([3]),
            "label": pa.array(["PER"]),
            "score": np.array([0.5]),
            "source_index": np.array([0]),
        },
    )
    assert column.type == record.COLUMNS["target_entities"]
    assert column.to_pylist()[1][0]["margin"] is None
