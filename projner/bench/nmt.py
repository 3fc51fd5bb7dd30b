"""Projection by a translation model's scores beside projection by word links, with the demo's models."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from projner import config, languages, methods, record, stage
from projner.bench import measure
from projner.bench.measure import Report
from projner.demo import encoder, models, write_corpus
from projner.demo.write_corpus import Phrase
from projner.stage import Stage

METHODS = ("nmt", "all", "align")
"""By these names of `methods.NAMED`; the last is what the others are held against."""
SOURCE, TARGET = "eng_Latn", "swh_Latn"
SEED = 1
CHECKED = 50


def bench(rows: int = 10_000, repeats: int = 1, threads: int = 2) -> Report:
    """Project labelled sentence pairs by each of `METHODS`, from tokens to tags.

    What a method needs is part of its cost: `align` aligns the pairs, `nmt` scores them, and `all`
    does both and labels the target side. Each repeat begins with models that remember nothing.

    Args:
        rows: how many sentence pairs of the demo's frames, all different.
        repeats: how often each method projects them.
        threads: CPUs that a model uses.

    Raises:
        JobError: torch or transformers are not installed.
    """
    toys = models.models()
    job = config.build(
        {
            "corpus": {
                "format": "bitext",
                "source": "-",
                "target": "-",
                "source_lang": SOURCE,
                "target_lang": TARGET,
            },
            "translate": {"model": str(toys.translator)},
            "label": {"model": str(toys.tagger)},
            "align": {"engine": "encoder", "model": str(toys.encoder), "layer": encoder.LAYERS},
        }
    )
    table = _table(write_corpus.sentences(seed=SEED, n_train=rows)["train"])
    spent: dict[str, dict[str, float]] = {name: {} for name in METHODS}
    done: dict[str, pa.Table] = {}
    counted: dict[str, float] = {}

    def project(name: str) -> float:
        seconds = 0.0
        made = table
        for step in _stages(name, job):
            step.setup(threads)
            stage.run(step, made.slice(0, 1))
            began = time.perf_counter()
            made = pa.concat_tables([stage.run(step, part) for part in measure.batches(made)])
            spent[name][step.name] = time.perf_counter() - began
            seconds += spent[name][step.name]
            if step.name == "nmt":
                counted.update({f"{name} {key}": value for key, value in step.counters().items()})
        done[name] = made
        return seconds

    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(repeats):
        for name in METHODS:
            seconds[name].append(project(name))
    table_rows = [
        {
            "method": name,
            "seconds": measure.rounded(float(np.median(seconds[name]))),
            "times align": measure.ratio(seconds[METHODS[-1]], seconds[name]),
            "of it": ", ".join(f"{step} {value:.1f}" for step, value in spent[name].items()),
        }
        for name in METHODS
    ]
    same = _same_one_by_one(done["nmt"], job, threads)
    scored = ", ".join(
        f"{name}: {counted[f'{name} candidates']:,.0f} candidates, {counted[f'{name} scored']:,.0f} scored"
        for name in METHODS[:-1]
    )
    return Report(
        f"projecting {rows:,} sentence pairs by a translation model's scores",
        table_rows,
        same,
        [
            f"{same:.2%} of {CHECKED} sentences get the same entities from scores computed one by one.",
            f"Distinct pairs of phrases are scored once ({scored}).",
        ],
        measure.signature(
            ["ctranslate2", "torch", "transformers"],
            models="demo",
            threads=threads,
            repeats=repeats,
        ),
    )


def _stages(name: str, job: config.Job) -> list[Stage]:
    """What a method runs on tokens and source labels."""
    steps = methods.projection_stages(methods.named(name), job)
    if any("links" in step.inputs for step in steps):
        given = record.COLUMNS.keys() - {"links"}
        steps = [*(s for s in methods.preparation(job, given) if "links" in s.outputs), *steps]
    return steps


def _table(sentences: Sequence[Phrase]) -> pa.Table:
    """Sentence pairs with the labels of the English side."""
    rows = [
        {
            "id": number,
            "source_lang": SOURCE,
            "target_lang": TARGET,
            "source_text": " ".join(sentence.words[0]),
            "target_text": " ".join(sentence.words[1]),
            "source_tokens": sentence.words[0],
            "target_tokens": sentence.words[1],
            "source_entities": [{**span._asdict(), "score": 1.0} for span in sentence.entities[0]],
            "status": "ok",
            "status_detail": None,
        }
        for number, sentence in enumerate(sentences)
    ]
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def _same_one_by_one(projected: pa.Table, job: config.Job, threads: int) -> float:
    """The share of some sentences whose entities stay when every candidate is scored by itself."""
    from projner.translate.similarity import Phrase as Scored
    from projner.translate.similarity import pairs_of
    from projner.translate.stage import load

    assert job.translate is not None
    model = load(job.translate, threads)

    def likely(made: Scored, given: Scored) -> float:
        tongues = [languages.find(given.language)], [languages.find(made.language)]
        return float(np.exp(model.score([given.text], [made.text], *tongues)[0]))

    chosen = sorted(
        random.Random(SEED).sample(range(projected.num_rows), min(CHECKED, projected.num_rows))
    )
    part = projected.take(pa.array(chosen))
    scores: list[Any] = []
    for row in range(part.num_rows):
        found = []
        for a, b in pairs_of(part.slice(row, 1)):
            found.append((likely(a, b) / likely(a, a) + likely(b, a) / likely(b, b)) / 2)
        scores.append(found)
    alone = record.with_column(part, "nmt_scores", pa.array(scores, record.type_of("nmt_scores")))
    *_, match = methods.projection_stages(methods.named("nmt"), job)
    again = match(alone)["target_entities"].to_pylist()

    def spans(row: list[dict[str, Any]]) -> list[tuple[int, int, str, int]]:
        return [(e["start"], e["end"], e["label"], e["source_index"]) for e in row]

    before = part["target_entities"].to_pylist()
    return measure.same_share([*map(spans, before)], [*map(spans, again)])
