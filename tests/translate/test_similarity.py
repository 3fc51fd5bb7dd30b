"""NMTScore: the formula, what is computed once, and the same as one by one."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import languages, record, stage
from projner.config import Translate
from projner.errors import JobError
from projner.translate import similarity
from projner.translate.similarity import Likelihoods, Phrase, PhraseScorer, similarities

A, B, C = Phrase("Ada Byron", "eng_Latn"), Phrase("Ada", "swh_Latn"), Phrase("na", "swh_Latn")


class Scripted:
    """An engine whose log-probabilities are told; a word is a sub-word."""

    limit = 3

    def __init__(self, known: dict[tuple[Phrase, Phrase], float] | None = None) -> None:
        self.known = known or {}
        self.asked: Counter[tuple[Phrase, Phrase]] = Counter()

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], int)

    def score(self, given: Any, made: Any, sources: Any, targets: Any) -> np.ndarray:
        pairs = [
            (Phrase(b, target.code), Phrase(a, source.code))
            for a, b, source, target in zip(given, made, sources, targets, strict=True)
        ]
        self.asked.update(pairs)
        return np.array([self.known.get(pair, -float(len(str(pair)))) for pair in pairs])


def test_the_formula() -> None:
    known = {(A, B): -2.0, (A, A): -0.5, (B, A): -1.0, (B, B): -0.25}
    found = similarities([(A, B)], Likelihoods(Scripted(known)))
    assert found == pytest.approx([(math.exp(-1.5) + math.exp(-0.75)) / 2])


def test_each_pair_is_scored_once() -> None:
    engine = Scripted()
    likelihoods = Likelihoods(engine)
    found = similarities([(A, B), (A, C), (A, B)], likelihoods)
    assert found[0] == found[2] != found[1]
    expected = {(A, B), (B, A), (A, C), (C, A), (A, A), (B, B), (C, C)}
    assert engine.asked == Counter(expected)
    # ... by an actor, in all its batches.
    assert similarities([(A, C)], likelihoods).tolist() == [found[1]]
    assert engine.asked == Counter(expected)
    assert likelihoods.computed == len(expected)


def test_what_was_used_last_is_remembered() -> None:
    engine = Scripted()
    likelihoods = Likelihoods(engine, remembered=2)
    for asked in ([(A, A)], [(B, B)], [(A, A)], [(C, C)], [(A, A)], [(B, B)]):
        likelihoods.of(asked)
    assert engine.asked == Counter({(A, A): 1, (B, B): 2, (C, C): 1})


def test_what_the_model_cannot_read_is_like_nothing() -> None:
    long = Phrase("a b c d", "swh_Latn")
    found = similarities([(A, long), (A, B), (long, long)], Likelihoods(Scripted()))
    assert found[0] == found[2] == 0 < found[1]
    assert similarities([], Likelihoods(Scripted())).tolist() == []


PHRASES = st.builds(Phrase, st.sampled_from(["a", "b c", "d e f g"]), st.just("eng_Latn"))


@given(st.lists(st.tuples(PHRASES, PHRASES), max_size=8), st.integers(0, 5))
def test_company_and_memory_change_nothing(pairs: list[Any], remembered: int) -> None:
    likelihoods = Likelihoods(Scripted(), remembered)
    for _ in range(2):
        together = similarities(pairs, likelihoods).tolist()
        alone = [similarities([pair], Likelihoods(Scripted()))[0] for pair in pairs]
        assert together == alone


def _row(source: str, target: str, entities: list[tuple[int, int]], asked: list[Any]) -> Any:
    return {
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
        "source_text": source.replace(" .", "."),
        "target_text": target.replace(" .", "."),
        "source_tokens": source.split(),
        "target_tokens": target.split(),
        "source_entities": [
            {"start": s, "end": e, "label": "PER", "score": 1.0} for s, e in entities
        ],
        "candidates": [{"source_index": i, "start": s, "end": e} for i, s, e in asked],
        "status": "ok",
        "status_detail": None,
    }


def _table(rows: list[Any]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def _scorer(model: str, codes: Sequence[str] = (), **settings: Any) -> PhraseScorer:
    exact = {"device": "cpu", "dtype": "float32"}
    config = Translate(model=model, **{**exact, **settings})
    scorer = PhraseScorer(config, languages=codes)
    scorer.setup(1)
    return scorer


def _rows(parallel: list[dict[str, str]]) -> list[Any]:
    rows = []
    for sentence in parallel:
        english, swahili = sentence["eng_Latn"], sentence["swh_Latn"]
        spans = [(i, j) for i in range(len(swahili.split())) for j in (i + 1, i + 2)]
        words = len(swahili.split())
        asked = [(e, i, j) for e in (0, 1) for i, j in spans if j <= words]
        rows.append(_row(english, swahili, [(0, 2), (2, 3)], asked))
    return rows


@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
def test_a_table_gives_what_its_phrases_give_one_by_one(
    engine: str, nllb: str, parallel: list[dict[str, str]]
) -> None:
    rows = _rows(parallel[:6])
    scorer = _scorer(nllb, engine=engine)
    found = stage.run(scorer, _table(rows))["nmt_scores"].to_pylist()
    model = scorer._engine

    def likelihood(made: Phrase, given_: Phrase) -> float:
        tongues = languages.find(given_.language), languages.find(made.language)
        return float(
            np.exp(model.score([given_.text], [made.text], *([each] for each in tongues))[0])
        )

    for row, scored in zip(rows[:2], found, strict=False):
        assert len(scored) == len(row["candidates"])
        for each, score in list(zip(row["candidates"], scored, strict=True))[::3]:
            entity = row["source_entities"][each["source_index"]]
            words = row["source_tokens"][entity["start"] : entity["end"]]
            a = Phrase(" ".join(words).replace(" .", "."), "eng_Latn")
            words = row["target_tokens"][each["start"] : each["end"]]
            b = Phrase(" ".join(words).replace(" .", "."), "swh_Latn")
            there = likelihood(a, b) / likelihood(a, a)
            back = likelihood(b, a) / likelihood(b, b)
            assert score == pytest.approx((there + back) / 2, rel=1e-3, abs=1e-5)
    counted = scorer.counters()
    assert counted["candidates"] == sum(len(row["candidates"]) for row in rows)
    # Phrases come up in several sentences, and with each entity.
    assert counted["scored"] < 2.5 * counted["candidates"]


def test_rows_by_themselves_and_rows_without_candidates(
    nllb: str, parallel: list[dict[str, str]]
) -> None:
    rows = [*_rows(parallel[:3]), _row("a .", "b .", [], [])]
    together = stage.run(_scorer(nllb), _table(rows))["nmt_scores"].to_pylist()
    assert together[3] == []
    for row, expected in zip(rows, together, strict=True):
        (alone,) = stage.run(_scorer(nllb), _table([row]))["nmt_scores"].to_pylist()
        assert alone == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_phrases_are_stretches_of_the_text() -> None:
    row = _row("a b c", "東 京 に", [(1, 3)], [(0, 0, 2)])
    row["target_text"] = "東京に"
    ((entity, span),) = similarity.pairs_of(_table([row]))
    assert entity == Phrase("b c", "eng_Latn")
    assert span == Phrase("東京", "swh_Latn")


def test_a_language_that_the_model_does_not_know(nllb: str) -> None:
    with pytest.raises(JobError, match=r"does not know bam_Latn; choose a model that does"):
        _scorer(nllb, ["swh_Latn", "bam_Latn"])


def test_a_scorer_travels_and_says_what_it_is(nllb: str) -> None:
    scorer = PhraseScorer(Translate(model=nllb, device="cpu", dtype="float32", beam_size=1))
    assert pickle.loads(pickle.dumps(scorer)).settings() == scorer.settings()
    # What only translating depends on changes no score.
    other = PhraseScorer(Translate(model=nllb, device="cpu", dtype="float32", beam_size=4))
    assert other.settings() == scorer.settings()
