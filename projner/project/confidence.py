"""How sure a projection is: the probability that an entity's span is right, if its label is.

A logistic regression over what is known of a projection (`features`), whose coefficients
`jobs/calibrate.py` fits on development data with gold labels and stores in
`confidence.json`, one set for each way to project. The probability is multiplied by the source
entity's own score, the probability that its label is right.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner import columns
from projner.config import Project

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FILE = Path(__file__).with_name("confidence.json")
FEATURES = (
    "one",
    "score",
    "margin",
    "log_source_words",
    "log_target_words",
    "log_ratio",
    "linked",
    "own",
    "elsewhere",
    "outside",
)
MANY_OUTSIDE = 3


def features(
    table: pa.Table,
    row: Integers,
    entity: Integers,
    start: Integers,
    end: Integers,
    score: Floats,
    margin: Floats,
) -> Floats:
    """What is known of projections, given as flat arrays: floats (projections, FEATURES).

    Score and margin (0 where there is none); the logarithms of the words of entity and span, and
    the absolute difference of these; the share of the entity's words that have a link into the span;
    of the span's words, the share with a link to the entity and the share with one to other words;
    and how many words outside of the span have a link to the entity, 3 at most.
    """
    entities = columns.lists(table["source_entities"], ["start", "end"])
    links = columns.lists(table["links"], ["source", "target"])
    place = entities.offsets[row] + entity
    first, last = (entities.fields[name][place].astype(np.int64) for name in ("start", "end"))
    counts = np.diff(links.offsets)[row]
    which = np.repeat(np.arange(len(row)), counts)
    offsets = links.offsets[row] - (np.cumsum(counts) - counts)
    held = np.arange(len(which)) + np.repeat(offsets, counts)
    source, target = (links.fields[name][held] for name in ("source", "target"))
    of_it = (source >= first[which]) & (source < last[which])
    inside = (target >= start[which]) & (target < end[which])

    def distinct(chosen: npt.NDArray[np.bool_], words: npt.NDArray[np.int32]) -> Integers:
        """How many distinct words each projection has among some links."""
        pairs = np.unique(which[chosen] * (1 << 32) + words[chosen])
        return np.bincount(pairs >> 32, minlength=len(row))

    words, length = last - first, end - start
    found = [
        np.ones(len(row)),
        score,
        np.nan_to_num(margin),
        np.log(words),
        np.log(length),
        np.abs(np.log(length / words)),
        distinct(of_it & inside, source) / words,
        distinct(of_it & inside, target) / length,
        distinct(~of_it & inside, target) / length,
        np.minimum(distinct(of_it & ~inside, target), MANY_OUTSIDE),
    ]
    return np.stack(found, axis=1).astype(np.float64)


def kind(project: Project) -> str | None:
    """The way of a section to project, None where there is no gold to learn how sure it is."""
    if project.method in ("heuristic", "span"):
        return project.method
    (score, *others) = project.weights
    once = project.most == 1 and project.relation == "<="
    if project.method == "match" and not others and once and project.solver != "greedy":
        return score if project.candidates != "ner" else None
    return None


def coefficients(project: Project) -> Floats | None:
    """A coefficient for each of `FEATURES`, None where a section has none."""
    known = _read().get(kind(project) or "")
    return None if known is None else np.array([known[name] for name in FEATURES])


def probabilities(known: Floats, weights: Floats) -> Floats:
    """The probability that a projection is right, from its features and their coefficients."""
    result: Floats = 1 / (1 + np.exp(-(known @ weights)))
    return result


@cache
def _read() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found
