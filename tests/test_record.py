"""The record's schema and columns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from projner import record


def test_schema_keeps_record_order_and_names_classes() -> None:
    schema = record.schema(["status", "id"], classes={"source_probs": ["O", "B-PER"]})
    assert schema.names == ["id", "status"]
    assert schema.metadata[b"projner.classes.source_probs"] == b"O\tB-PER"
    assert schema.metadata[b"projner.schema_version"] == str(record.SCHEMA_VERSION).encode()


def test_open_rows_are_those_with_status_ok() -> None:
    table = pa.table({"status": ["ok", "empty", None, "ok"]})
    assert record.is_open(table).tolist() == [True, False, False, True]


def test_with_column_replaces_in_place_or_appends() -> None:
    table = pa.table({"id": pa.array([1, 2]), "status": ["ok", "ok"]})
    replaced = record.with_column(table, "id", [3, 4])
    assert replaced.column_names == ["id", "status"]
    assert replaced["id"].to_pylist() == [3, 4]
    appended = record.with_column(table, "links", [[], None])
    assert appended.schema.field("links").type == record.COLUMNS["links"]


def test_an_unknown_column_has_no_type() -> None:
    with pytest.raises(KeyError):
        record.type_of("nonsense")
