"""Arrow columns and flat arrays say the same thing."""

from __future__ import annotations

import pyarrow as pa

from projner import columns, record


def test_null_rows_are_empty_and_slices_are_respected() -> None:
    values = [
        [{"source": 9, "target": 9, "score": 1.0}],
        None,
        [],
        [{"source": 1, "target": 2, "score": 1.0}, {"source": 3, "target": 4, "score": 0.5}],
    ]
    column = pa.chunked_array([pa.array(values, pa.list_(record.LINK)).slice(1)])
    flat = columns.lists(column, ["source", "target", "score"])
    assert flat.offsets.tolist() == [0, 0, 0, 2]
    assert flat.pairs("source", "target").tolist() == [[1, 2], [3, 4]]
    assert flat.fields["score"].tolist() == [1.0, 0.5]
    assert flat.rows()[2] == slice(0, 2)


def test_no_lists() -> None:
    nothing = columns.no_lists(2, ["source", "target"])
    assert nothing.rows() == [slice(0, 0)] * 2
    assert nothing.pairs("source", "target").shape == (0, 2)
