"""Labelling: the stage `label` beside the token-classification pipeline of transformers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from projner import checkpoints, config, devices, record, serving
from projner.bench import measure, models, sentences
from projner.bench.measure import THEIR_ROWS, Report
from projner.label import Labeller

SERVED, OURS, THEIRS = "projner label, vllm", "projner label", "transformers pipeline"
Entities = set[tuple[int, int, str]]
"""(first word, word after the last, class) of a sentence's entities."""


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
    engine: Literal["transformers", "vllm"] = "transformers",
) -> Report:
    """Label sentences both ways, with the same weights on the same device.

    Args:
        rows: how many sentences.
        repeats: how often each side labels them.
        threads: CPUs that a side uses.
        device: what the model runs on.
        dtype: what it computes in.
        shape: of an XLM-R with random weights, a name of `models.SHAPES`.
        layers: of it, instead of the shape's.
        width: likewise.
        model: a checkpoint in its place.
        corpus: a file of sentences, one a line; made-up ones by default.
        engine: vllm for a third side, in an environment that has it.

    Raises:
        JobError: what the arguments name cannot be had.
    """
    checkpoints.library()
    devices.use_threads(threads)
    form = models.shape(shape, layers, width)
    found = sentences.read(corpus, rows) if corpus else sentences.sentences(rows)
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            models.tagger(Path(folder), found, form)
        section = config.Label(model=model or folder, device=device, dtype=dtype)
        labellers = {OURS: Labeller(section)}
        if engine == "vllm":
            served = section.model_copy(update={"engine": engine})
            labellers = {SERVED: Labeller(devices.resolve(served)), **labellers}
        for labeller in labellers.values():
            labeller.setup(threads)
        pipeline = _pipeline(section)
    table = _table(found)

    def ours(side: str, table: pa.Table = table) -> list[pa.ChunkedArray]:
        return [labellers[side](part)["source_entities"] for part in measure.batches(table)]

    def theirs(found: Sequence[list[str]] = found) -> list[list[dict[str, Any]]]:
        return list(pipeline(found, batch_size=THEIR_ROWS, is_split_into_words=True))

    for side in labellers:
        ours(side, table.slice(0, THEIR_ROWS))
    theirs(found[:THEIR_ROWS])
    runs: dict[str, Callable[[], Any]] = {side: partial(ours, side) for side in labellers}
    measured = measure.in_turn({**runs, THEIRS: theirs}, repeats)
    labelled = {
        side: [_ours(row) for part in measured[side].results[0] for row in part.to_pylist()]
        for side in labellers
    }
    same = measure.same_share(
        labelled[OURS],
        [_theirs(*row) for row in zip(found, measured[THEIRS].results[0], strict=True)],
    )
    padding = {}
    for side, labeller in labellers.items():
        counted = labeller.counters()
        padding[side] = counted["padding"] / (counted["padding"] + counted["tokens"])
    lengths = [*map(len, pipeline.tokenizer(found, is_split_into_words=True)["input_ids"])]
    padding[THEIRS] = measure.padding_in_order(lengths)
    notes = [f"{same:.2%} of the sentences get the same entities on both sides."]
    if engine == "vllm":
        equal = measure.same_share(labelled[SERVED], labelled[OURS])
        notes.append(f"{equal:.2%} get the same from vLLM as from our own engine.")
    chosen = pipeline.device.type
    return Report(
        f"labelling {len(found):,} sentences",
        measure.beside(measured, len(found), "sentences", padding),
        same,
        [
            *notes,
            measure.HOW,
            f"The pipeline takes {THEIR_ROWS} sentences at once, in corpus order.",
        ],
        measure.signature(
            ["torch", "transformers"],
            vllm=serving.version() if engine == "vllm" else None,
            device=chosen,
            dtype=str(pipeline.model.dtype).split(".")[-1],
            threads=threads,
            model=model or f"xlm-r:{form}",
            corpus=corpus or "made-up",
            repeats=repeats,
        ),
    )


def _pipeline(section: config.Label) -> Any:
    device = devices.choose_device(section.device)
    return checkpoints.library().pipeline(
        "token-classification",
        model=section.model,
        device=device,
        dtype=devices.choose_dtype(section.dtype, device),
        aggregation_strategy=section.pooling,
    )


def _table(found: Sequence[list[str]]) -> pa.Table:
    return pa.table(
        {
            "source_tokens": pa.array(found, record.type_of("source_tokens")),
            "status": ["ok"] * len(found),
            "status_detail": pa.nulls(len(found), pa.string()),
        }
    )


def _ours(row: list[dict[str, Any]]) -> Entities:
    return {(item["start"], item["end"], item["label"]) for item in row}


def _theirs(words: list[str], found: list[dict[str, Any]]) -> Entities:
    """Entities in words, from those in characters of the words joined by spaces."""
    ends = [*accumulate(words, lambda before, word: before + 1 + len(word), initial=-1)]
    first = {end + 1: number for number, end in enumerate(ends)}
    after = {end: number for number, end in enumerate(ends)}
    return {(first[item["start"]], after[item["end"]], item["entity_group"]) for item in found}
