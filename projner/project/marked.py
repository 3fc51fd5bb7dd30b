"""The stage that projects what came back between markers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, record
from projner.project import arrays
from projner.stage import Stage


class Marked(Stage):
    """The marked translation and its entities as the target side (EasyProject, LabelPigeon)."""

    name: ClassVar[str] = "marked"
    inputs = ("marked_text", "marked_tokens", "marked_entities")
    outputs = ("target_text", "target_tokens", "target_entities", "tokens", "ner_tags")

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, table: pa.Table) -> pa.Table:
        entities = columns.lists(table["marked_entities"], ["start", "end", "score"])
        sizes = np.diff(entities.offsets)
        row = np.repeat(np.arange(table.num_rows), sizes)
        index = np.arange(len(row)) - np.repeat(entities.offsets[:-1], sizes)
        order = np.lexsort((entities.fields["start"], row))
        start, end, score = (
            entities.fields[name][order].astype(kind)
            for name, kind in (("start", np.int32), ("end", np.int32), ("score", np.float32))
        )
        items = pc.list_flatten(table["marked_entities"].combine_chunks())
        labels = pc.struct_field(items, "label").take(pa.array(order))
        fields = {"start": start, "end": end, "label": labels, "score": score}
        projected = arrays.projected(entities.offsets, {**fields, "source_index": index[order]})
        lengths = pc.list_value_length(table["marked_tokens"]).to_numpy()
        tags = arrays.iob2(lengths, entities.offsets, start, end, labels)
        table = record.with_column(table, "target_text", table["marked_text"])
        table = record.with_column(table, "target_tokens", table["marked_tokens"])
        table = record.with_column(table, "tokens", table["marked_tokens"])
        table = record.with_column(table, "target_entities", projected)
        return record.with_column(table, "ner_tags", tags)
