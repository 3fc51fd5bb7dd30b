"""The labels that taggers give to sentences, by the stage that labels corpora, and how fast they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import pyarrow as pa

from projner import checkpoints
from projner.config import Label
from projner.errors import JobError
from projner.evaluate.f1 import Labelled
from projner.label.reader import read_labels
from projner.label.stage import Labeller
from projner.tags import Span, to_tags

WARM_ROWS = 32
"""Sentences that a model labels before it is timed."""


@dataclass(frozen=True)
class Cost:
    """What a tagger takes: sentences and words of the text at hand that it labels in a second."""

    parameters: int
    sentences_per_second: float
    words_per_second: float


def labels_of(label: Label, sentences: Labelled) -> Labelled:
    """The labels that a tagger gives to the words of sentences. Raises JobError."""
    return _labels(_ready(label), sentences, label.model)


def timed(
    labels: Sequence[Label], sentences: Labelled, threads: int | None = None, repeats: int = 1
) -> list[tuple[Labelled, Cost]]:
    """The labels and the cost of each tagger.

    They take turns, `repeats` times, and are warm before the first; times are medians. `threads`
    are the CPUs that each may keep busy, all by default. Raises JobError.
    """
    stages = [_ready(label, threads) for label in labels]
    few = Labelled(sentences.name, sentences.tokens[:WARM_ROWS], sentences.tags[:WARM_ROWS])
    names = [_cited(stage.config) for stage in stages]
    for stage in stages:
        _labels(stage, few, few.name)
    found: list[Labelled] = []
    seconds: list[list[float]] = [[] for _ in stages]
    for _ in range(repeats):
        found = []
        for stage, name, times in zip(stages, names, seconds, strict=True):
            began = time.perf_counter()
            found.append(_labels(stage, sentences, name))
            times.append(time.perf_counter() - began)
    words = sum(map(len, sentences.tokens))
    costs = [
        Cost(stage.parameters, len(sentences.tokens) / median(times), words / median(times))
        for stage, times in zip(stages, seconds, strict=True)
    ]
    return list(zip(found, costs, strict=True))


def classes(label: Label) -> set[str]:
    """The classes that a tagger tells apart. Raises JobError."""
    return {tag[2:] for tag in read_labels(label).tags} - {""}


def _ready(label: Label, threads: int | None = None) -> Labeller:
    stage = Labeller(label, "target").resolved()
    stage.setup(threads)
    return stage


def _cited(label: Label) -> str:
    """The model, which weights, and what they are computed in."""
    return f"{label.model}@{label.revision or checkpoints.identity(label.model)},{label.dtype}"


def _labels(stage: Labeller, sentences: Labelled, name: str) -> Labelled:
    table = pa.table({"target_tokens": pa.array(sentences.tokens, pa.list_(pa.string()))})
    try:
        found = stage(table)["target_labels"].to_pylist()
    except FloatingPointError as error:
        raise JobError(f"{stage.config.model}: {error}") from None
    tags = [
        to_tags((Span(e["start"], e["end"], e["label"]) for e in entities), len(tokens))
        for tokens, entities in zip(sentences.tokens, found, strict=True)
    ]
    return Labelled(name, sentences.tokens, tags)
