"""Filtering as a stage: rows keep their place, and say why nothing more is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import config, identify, languages, stage
from projner.record import Status, is_open
from projner.stage import Stage


class Filter(Stage):
    """Checks the sides that the corpus gives; what is not as the config says becomes `too_long` or
    `filtered`."""

    name = "filter"
    outputs = ()

    def __init__(self, chosen: config.Filter, sides: Mapping[str, str]):
        """`sides`: the language code of each side to check.

        Raises JobError where the engine is not installed, or cannot tell one of the languages.
        """
        self.config = chosen
        self.sides = dict(sides)
        self.inputs = tuple(f"{side}_{kind}" for side in sides for kind in ("text", "tokens"))
        self._identity: str | None = None
        if chosen.language is not None:
            for code in sides.values():
                identify.check(chosen.language, languages.find(code), "filter.language")
            self._identity = identify.identity(chosen.language)

    def settings(self) -> dict[str, Any]:
        limits = self.config.model_dump(mode="json", exclude={"language"}, exclude_none=True)
        found: dict[str, Any] = {"sides": self.inputs, **limits}
        if self.config.language is not None:
            found["language"] = self._identity
            found["min_score"] = self.config.language.min_score
        return found

    def __call__(self, table: pa.Table) -> pa.Table:
        for side in self.sides:
            words = pc.list_value_length(table[f"{side}_tokens"])
            characters = pc.utf8_length(table[f"{side}_text"])
            for unit, lengths in (("words", words), ("chars", characters)):
                table = self._limit(table, side, unit, np.asarray(lengths.combine_chunks()))
        if self.config.language is not None:
            for side in self.sides:
                table = self._identify(table, side, self.config.language)
        return table

    def _limit(self, table: pa.Table, side: str, unit: str, lengths: np.ndarray) -> pa.Table:
        for key, status in ((f"max_{unit}", Status.TOO_LONG), (f"min_{unit}", Status.FILTERED)):
            limit = getattr(self.config, key)
            if limit is None:
                continue
            is_over = lengths > limit if key.startswith("max") else lengths < limit
            wrong = is_over & is_open(table)
            details = [
                f"the {side} side has {length} {unit}; filter.{key} is {limit}"
                for length in lengths[wrong]
            ]
            table = stage.with_status(table, wrong, status, details)
        return table

    def _identify(self, table: pa.Table, side: str, chosen: config.Identify) -> pa.Table:
        language = languages.find(self.sides[side])
        wrong = is_open(table)
        details: list[str] = []
        for row in np.flatnonzero(wrong).tolist():
            doubt = identify.doubt(chosen, language, table[f"{side}_text"][row].as_py())
            wrong[row] = doubt is not None
            if doubt:
                details.append(f"the {side} side {doubt}")
        return stage.with_status(table, wrong, Status.FILTERED, details)
