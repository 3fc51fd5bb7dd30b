"""Labelling: the stage `label` against the token-classification pipeline of transformers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from projner import checkpoints, config, devices, record
from projner.bench import measure, models, sentences
from projner.bench.measure import Report
from projner.bench.rows import batches, padding_of
from projner.label import Labeller

THEIR_BATCH = 32


def bench(
    rows: int = 512,
    repeats: int = 3,
    threads: int = 1,
    device: devices.Device = "auto",
    dtype: devices.Precision = "auto",
    shape: str = "small",
    layers: int | None = None,
    width: int | None = None,
    model: str | None = None,
    corpus: str | None = None,
) -> Report:
    """Label sentences both ways, with the same weights.

    Args:
        rows: sentences.
        repeats: how often each side runs.
        threads: CPUs that either side may use.
        device: what both run on.
        dtype: what both compute in.
        shape: of an XLM-R with random weights; see `models.SHAPES`.
        layers: instead of the shape's.
        width: instead of the shape's.
        model: a checkpoint to use instead.
        corpus: a file of sentences, one a line, instead of made-up ones.

    Raises:
        JobError: what the arguments name cannot be had.
    """
    devices.use_threads(threads)
    form = models.shape(shape, layers, width)
    found = sentences.read(corpus, rows) if corpus else sentences.sentences(rows)
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            models.tagger(Path(folder), found, form)
        place = model or folder
        settings = config.Label(model=place, device=device, dtype=dtype)
        labeller = Labeller(settings)
        labeller.setup(threads)
        pipeline = _pipeline(place, device, dtype)
    table = pa.table(
        {
            "source_tokens": pa.array(found, record.type_of("source_tokens")),
            "status": pa.repeat(pa.scalar("ok"), len(found)),
            "status_detail": pa.nulls(len(found), pa.string()),
        }
    )

    def ours() -> list[set[tuple[int, int, str]]]:
        rows = [row for part in batches(table) for row in labeller(part)["source_entities"].to_pylist()]
        return [{(item["start"], item["end"], item["label"]) for item in row} for row in rows]

    def theirs() -> Any:
        return pipeline(found, batch_size=THEIR_BATCH, is_split_into_words=True)
