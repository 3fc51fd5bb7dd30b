"""Better no label than a doubtful one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, record
from projner.config import Project
from projner.project import arrays
from projner.stage import Stage


class Abstain(Stage):
    """Moves entities whose score, margin or confidence is too low from `target_entities` to `abstained`.

    Their words become O. An entity without a margin or a confidence has none that is too low.
    """

    name: ClassVar[str] = "abstain"
    inputs = ("target_tokens", "target_entities", "ner_tags")
    outputs = ("abstained",)

    def __init__(self, config: Project) -> None:
        least = {name: getattr(config, f"min_{name}") for name in ("score", "margin", "confidence")}
        self._least = {name: value for name, value in least.items() if value is not None}

    def settings(self) -> dict[str, Any]:
        return {f"min_{name}": value for name, value in self._least.items()}

    def __call__(self, table: pa.Table) -> pa.Table:
        given = table["target_entities"].combine_chunks()
        fields = columns.lists(table["target_entities"], list(self._least)).fields
        doubtful = np.zeros(len(pc.list_flatten(given)), bool)
        for name, least in self._least.items():
            doubtful |= fields[name].astype(np.float32) < np.float32(least)
        kept = arrays.kept(given, ~doubtful)
        lengths = pc.list_value_length(table["target_tokens"]).to_numpy()
        table = record.with_column(table, "abstained", arrays.kept(given, doubtful))
        table = record.with_column(table, "target_entities", kept)
        return record.with_column(table, "ner_tags", arrays.tags(lengths, kept))
