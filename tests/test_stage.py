"""Running a stage: which rows it sees, and what a bad row costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import record, stage
from projner.stage import Renamed, Stage


class Upper(Stage):
    """Writes the source text in capitals as the target text; chokes on "bad"."""

    name = "upper"
    inputs = ("source_text",)
    outputs = ("target_text",)

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        texts = table["source_text"].to_pylist()
        self.seen.append(texts)
        if "bad" in texts:
            raise ValueError("cannot shout this")
        return record.with_column(table, "target_text", [text.upper() for text in texts])


def rows(texts: list[str], statuses: list[str], targets: list[str | None] | None) -> pa.Table:
    columns = {"source_text": texts, "status": statuses}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    table = table.append_column("status_detail", pa.nulls(len(texts), pa.string()))
    return table if targets is None else record.with_column(table, "target_text", targets)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "bad"]),
        st.sampled_from(["ok", "ok", "empty"]),
        st.sampled_from([None, None, "given"]),
    ),
    max_size=12,
)


@given(ROWS)
def test_each_row_gets_its_own_result(given_rows: list[tuple[str, str, str | None]]) -> None:
    texts, statuses, targets = (
        (list(column) for column in zip(*given_rows, strict=True)) if (given_rows) else ([], [], [])
    )
    upper = Upper()
    result = stage.run(upper, rows(texts, statuses, targets)).to_pylist()
    assert [row["source_text"] for row in result] == texts
    for (text, status, target), row in zip(given_rows, result, strict=True):
        if status != "ok" or target is not None:
            assert (row["target_text"], row["status"]) == (target, status)
        elif text == "bad":
            assert row["status"] == "error"
            assert row["status_detail"] == "upper: ValueError: cannot shout this"
            assert row["target_text"] is None
        else:
            assert (row["target_text"], row["status"]) == (text.upper(), "ok")
    todo = [t for t, status, target in given_rows if status == "ok" and target is None]
    assert {text for batch in upper.seen for text in batch} == set(todo)


def test_nothing_to_do_calls_nothing() -> None:
    upper = Upper()
    result = stage.run(upper, rows(["a"], ["empty"], None))
    assert upper.seen == []
    assert result["target_text"].to_pylist() == [None]


def test_a_stage_that_loses_rows_is_a_bug_not_a_status() -> None:
    class Loses(Upper):
        def __call__(self, table: pa.Table) -> pa.Table:
            return super().__call__(table).slice(1)

    with pytest.raises(RuntimeError, match="stage upper returned 1 rows for 2"):
        stage.run(Loses(), rows(["a", "b"], ["ok", "ok"], None))


def test_a_stage_may_be_for_some_languages() -> None:
    table = rows(list("abcd"), ["ok", "ok", "ok", "empty"], None)
    codes = ["swh_Latn", "hau_Latn", None, "swh_Latn"]
    table = table.append_column("target_lang", pa.array(codes, pa.string()))
    upper = Upper()
    upper.languages = ("swh_Latn", "yor_Latn")
    assert stage.run(upper, table)["target_text"].to_pylist() == ["A", None, None, None]
    assert upper.seen == [["a"]]


class Learnt(Upper):
    """Writes what it has learnt, too."""

    name = "learnt"
    version = 3
    learns = True
    room = "align"

    def __init__(self, known: str = "") -> None:
        super().__init__()
        self.known = known

    def learn(self, tables: Iterator[pa.Table], folder: Path) -> None:
        texts = [text for table in tables for text in table["source_text"].to_pylist()]
        (folder / "known").write_text("+".join(texts))

    def recall(self, folder: Path) -> Stage:
        return Learnt((folder / "known").read_text())

    def __call__(self, table: pa.Table) -> pa.Table:
        made = [f"{text.upper()} {self.known}" for text in table["source_text"].to_pylist()]
        return record.with_column(table, "target_text", made)


NAMES = {"source_text": "target_text", "target_text": "marked_text"}


def test_a_stage_may_be_shown_other_columns_as_its_own() -> None:
    renamed = Renamed(Upper(), NAMES)
    assert (renamed.inputs, renamed.outputs) == (("target_text",), ("marked_text",))
    table = rows(["a", "b", "c"], ["ok", "empty", "ok"], ["x", "y", "bad"])
    table = table.replace_schema_metadata({"kept": "yes"})
    made = stage.run(renamed, table)
    assert made.select(["source_text", "target_text"]).equals(
        table.select(["source_text", "target_text"])
    )
    assert made["marked_text"].to_pylist() == ["X", None, None]
    assert made["status"].to_pylist() == ["ok", "empty", "error"]
    assert made.schema.metadata == {b"kept": b"yes"}
    assert renamed.settings() == {"columns": NAMES}


def test_a_stage_that_is_shown_other_columns_learns_from_them(tmp_path: Path) -> None:
    renamed = Renamed(Learnt(), NAMES)
    inherited = renamed.name, renamed.version, renamed.learns, renamed.room
    assert inherited == ("learnt", 3, True, "align")
    renamed.languages = ("swh_Latn",)
    renamed.learn(iter([rows(["a"], ["ok"], ["x"]), rows(["b"], ["ok"], ["y"])]), tmp_path)
    recalled = renamed.recall(tmp_path)
    assert recalled.languages == ("swh_Latn",)
    made = recalled(rows(["a"], ["ok"], ["x"]))
    assert made["marked_text"].to_pylist() == ["X x+y"]
    assert made["target_text"].to_pylist() == ["x"]
