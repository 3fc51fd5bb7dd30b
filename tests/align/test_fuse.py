"""Several aligners as one: which links stay, and what they score."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import pipeline, record, storage
from projner.align.fuse import FusedAligner, fuse
from projner.align.surface import SurfaceAligner
from projner.stage import Stage

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


class Learner(Stage):
    """Links the first words of both sides, with a score that it learns from the corpus's size."""

    name = "learner"
    learns = True
    inputs = ("source_tokens", "target_tokens")
    outputs = ("links",)

    def __init__(self, scale: float, folder: Path | None = None) -> None:
        self.scale = scale
        self.folder = folder

    def settings(self) -> dict[str, Any]:
        return {"scale": self.scale}

    def learn(self, tables: Iterable[pa.Table], folder: Path) -> None:
        rows = sum(table.num_rows for table in tables)
        (folder / "score").write_text(str(self.scale * rows))

    def recall(self, folder: Path) -> Stage:
        return Learner(self.scale, folder)

    def __call__(self, table: pa.Table) -> pa.Table:
        assert self.folder is not None
        score = float((self.folder / "score").read_text())
        links = [[{"source": 0, "target": 0, "score": score}]] * table.num_rows
        return record.with_column(table, "links", links)


@pytest.mark.parametrize("store", ["memory://{}", "{}"])
def test_several_aligners_learn_from_the_same_corpus(tmp_path: Path, store: str) -> None:
    table = pa.table({"source_tokens": [["a"], ["b"]], "target_tokens": [["c"], ["d"]]})
    reads = [pipeline.Read(lambda: table, 2), pipeline.Read(lambda: table, 2)]
    fused = FusedAligner([Learner(0.1), SurfaceAligner(), Learner(0.2)])
    place = storage.at(store.format(tmp_path / uuid.uuid4().hex))
    pipeline._learn(fused, pipeline._Tables(reads), place)
    recalled = fused.recall(place.local(tmp_path / "cache"))
    (link,) = recalled(table)["links"].to_pylist()[0]
    assert link["score"] == pytest.approx((0.4 + 0.8) / 3)
