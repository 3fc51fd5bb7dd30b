"""How likely a translation model finds two phrases to be translations of each other.

NMTScore-direct (Vamvas and Sennrich 2022), symmetric and normalised: with P(a|b) the exponential of
the mean log-probability of a's sub-words and end, given b,

    similarity(a, b) = (P(a|b) / P(a|a) + P(b|a) / P(b|b)) / 2
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from projner import columns, languages, record
from projner.translate.engine import Engine
from projner.translate.stage import ModelStage
from projner.words import offsets

Floats = npt.NDArray[np.float64]

REMEMBERED = 200_000
"""Scores that an actor keeps for the batches to come."""


class Phrase(NamedTuple):
    """A text and the FLORES-200 code of its language."""

    text: str
    language: str


Pair = tuple[Phrase, Phrase]


class Likelihoods:
    """Log-probabilities of phrases given phrases, each computed once for as long as it is known."""

    def __init__(self, engine: Engine, remembered: int = REMEMBERED) -> None:
        """Scores by `engine`; those of the `remembered` pairs that were used last are kept."""
        self.computed = 0
        self._engine = engine
        self._remembered = remembered
        self._known: dict[Pair, float] = {}

    def of(self, pairs: Sequence[Pair]) -> Floats:
        """The mean log-probability of the first phrase of each pair, given the second.

        -inf where the model cannot read one of them.
        """
        wanted = dict.fromkeys(pairs)
        found = {pair: self._known.pop(pair) for pair in wanted if pair in self._known}
        missing = [pair for pair in wanted if pair not in found]
        found.update(zip(missing, self._compute(missing).tolist(), strict=True))
        # What was used last stands last.
        self._known.update(found)
        for pair in list(self._known)[: max(0, len(self._known) - self._remembered)]:
            del self._known[pair]
        return np.array([found[pair] for pair in pairs], np.float64)

    def _compute(self, pairs: Sequence[Pair]) -> Floats:
        scores = np.full(len(pairs), -np.inf)
        if not pairs:
            return scores
        phrases = list(dict.fromkeys(phrase for pair in pairs for phrase in pair))
        lengths = self._engine.lengths([phrase.text for phrase in phrases])
        readable = dict(zip(phrases, lengths <= self._engine.limit, strict=True))
        rows = [n for n, (made, given) in enumerate(pairs) if readable[made] and readable[given]]
        if rows:
            made, given = zip(*(pairs[n] for n in rows), strict=True)
            scores[rows] = self._engine.score(
                [phrase.text for phrase in given],
                [phrase.text for phrase in made],
                [languages.find(phrase.language) for phrase in given],
                [languages.find(phrase.language) for phrase in made],
            )
        self.computed += len(rows)
        return scores


def similarities(pairs: Sequence[Pair], likelihoods: Likelihoods) -> Floats:
    """The similarity of each pair of phrases: 0 or more, and about 1 for translations.

    Above that only where the model finds a phrase likelier given the other than given itself.
    """
    distinct = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    asked = [order for a, b in distinct for order in ((a, b), (a, a), (b, a), (b, b))]
    logs = likelihoods.of(asked).reshape(-1, 2, 2)
    # What cannot be read is like nothing: -inf - -inf is no number.
    with np.errstate(invalid="ignore"):
        ratios = np.exp(logs[:, :, 0] - logs[:, :, 1])
    each = np.where(np.isfinite(logs).all(axis=(1, 2)), ratios.mean(axis=1), 0)
    result: Floats = each[[distinct[pair] for pair in pairs]]
    return result


class PhraseScorer(ModelStage):
    """Fills `nmt_scores` with the similarity of each candidate to its entity."""

    name: ClassVar[str] = "nmt"
    inputs = (
        "source_text",
        "target_text",
        "source_tokens",
        "target_tokens",
        "source_lang",
        "target_lang",
        "source_entities",
        "candidates",
    )
    outputs = ("nmt_scores",)

    def settings(self) -> dict[str, Any]:
        used = {"engine", "revision", "dtype", "model"}
        return {key: value for key, value in super().settings().items() if key in used}

    def setup(self, cpus: float | None = None) -> None:
        super().setup(cpus)
        self._likelihoods = Likelihoods(self._engine)
        self._candidates = 0
        self._seconds = 0.0

    def counters(self) -> Mapping[str, float]:
        return {
            "candidates": self._candidates,
            "scored": self._likelihoods.computed,
            "tokens": self._engine.padding.tokens,
            "padding": self._engine.padding.padding,
            "seconds": self._seconds,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        started = time.perf_counter()
        pairs = pairs_of(table)
        scores = pa.array(similarities(pairs, self._likelihoods), pa.float32())
        places = pa.array(columns.lists(table["candidates"]).offsets, pa.int32())
        table = record.with_column(table, "nmt_scores", pa.ListArray.from_arrays(places, scores))
        self._candidates += len(pairs)
        self._seconds += time.perf_counter() - started
        return table


def pairs_of(table: pa.Table) -> list[Pair]:
    """The phrases of each candidate, entity first, row after row."""
    found = []
    for row in table.select(PhraseScorer.inputs).to_pylist():
        entities, candidates = row["source_entities"] or [], row["candidates"] or []
        if not candidates:
            continue
        source, target = (
            _Side(row[f"{side}_text"], row[f"{side}_tokens"], row[f"{side}_lang"])
            for side in ("source", "target")
        )
        phrases = [source.phrase(entity["start"], entity["end"]) for entity in entities]
        found += [
            (phrases[each["source_index"]], target.phrase(each["start"], each["end"]))
            for each in candidates
        ]
    return found


class _Side:
    """A sentence whose phrases are stretches of its text, spaces and all."""

    def __init__(self, text: str, tokens: Sequence[str], language: str) -> None:
        self._text, self._language = text, language
        self._places = offsets(text, tokens)

    def phrase(self, start: int, end: int) -> Phrase:
        """The words from `start` to `end`, exclusive."""
        first, last = self._places[start][0], self._places[end - 1][1]
        return Phrase(self._text[first:last], self._language)
