"""How the cost of projection grows with words, entities and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from projner import methods
from projner.bench import matching, measure, sentences
from projner.bench.measure import Report
from projner.stage import Stage

WORDS = (10, 20, 40, 80, 160, 320)
ENTITIES = (1, 2, 4, 8, 16, 26)
SIZES = (1_000, 10_000, 100_000)
CORPUS_ROWS = 20_000
FEW = 2
"""Entities where the number of words grows."""
LONG = 80
"""Words where the number of entities grows."""


def bench(
    jobs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    rows: int = 2000,
    repeats: int = 3,
    largest: int = SIZES[-1],
) -> Report:
    """Time the stages of projection, one thread, from table to table.

    Args:
        jobs: job files of labelled, linked corpora, each taken again and again up to `CORPUS_ROWS`,
            before made-up sentences.
        overrides: `section.key=value` changes to them.
        rows: sentences of a size, where their size grows.
        repeats: how often each is projected.
        largest: rows of the longest table, where their number grows.

    Raises:
        JobError: what the arguments name cannot be had.
    """
    report = []
    for what, size, table in _tables(jobs, overrides, rows, largest):
        problem = matching.by_tags("made-up", table, 0)
        sides: dict[str, tuple[list[Stage], pa.Table]] = {
            "default": (methods.projection_stages(methods.named("default")), table),
            "align": (methods.projection_stages(methods.named("align")), table),
            "align_gap": (methods.projection_stages(methods.named("align_gap")), table),
            "ner": ([problem.stage], problem.table),
        }
        runs = {name: partial(methods.apply, *side) for name, side in sides.items()}
        for run in runs.values():
            run()
        measured = measure.in_turn(runs, repeats)
        micro = {name: 1e6 / table.num_rows * median(of.seconds) for name, of in measured.items()}
        report.append(
            {
                "what": what,
                "to": size,
                **{name: measure.rounded(seconds) for name, seconds in micro.items()},
            }
        )
    return Report(
        "projection, microseconds a sentence",
        report,
        1.0,
        [
            "Medians over repeats that take turns; 1,000,000 / each is sentences a second and core. "
            "default, with its surface links, align and align_gap go by links; ner by the "
            "probabilities of a made-up tagger, under which nearly every span of up to 10 words "
            "scores for every entity.",
            f"words: {FEW} entities each. entities: {LONG} words each. rows: made-up news.",
        ],
        measure.signature(
            ["pyarrow", "numba"],
            threads=1,
            rows=rows,
            repeats=repeats,
            ner=f"softmax(normal+{matching.SURE:g}*projected-tag)",
        ),
    )


def _tables(
    jobs: Sequence[str], overrides: Sequence[str], rows: int, largest: int
) -> Iterator[tuple[str, int, pa.Table]]:
    for name, table in matching.tables(jobs, overrides) if jobs else ():
        again = pa.concat_tables([table] * -(-CORPUS_ROWS // table.num_rows))
        yield name, CORPUS_ROWS, again.slice(0, CORPUS_ROWS).combine_chunks()
    for words in WORDS:
        yield "words", words, sentences.as_table(_sized(rows, words, FEW))
    for entities in ENTITIES:
        yield "entities", entities, sentences.as_table(_sized(rows, LONG, entities))
    news = sentences.as_table(sentences.pairs(SIZES[0]))
    for size in SIZES:
        if size <= largest:
            again = pa.concat_tables([news] * -(-size // SIZES[0]))
            yield "rows", size, again.slice(0, size).combine_chunks()


def _sized(rows: int, words: int, entities: int) -> list[sentences.Pair]:
    """Sentences of so many words with so many entities, of one to three words each."""
    chance = np.random.default_rng(words * entities)
    found = []
    for pair in sentences.pairs_of_lengths(np.full(rows, words), chance):
        starts = np.sort(chance.permutation(words // 3)[:entities]) * 3
        spans: list[Any] = [
            (start, start + int(chance.integers(1, 4)), str(chance.choice(sentences.CLASSES)))
            for start in starts.tolist()
        ]
        found.append(replace(pair, entities=spans))
    return found
