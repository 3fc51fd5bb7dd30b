from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import record, stage
from projner.config import Translate
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1
from projner.languages import find
from projner.tags import to_spans
from projner.translate import constrained, load, markers
from projner.translate.constrained import LEAST, PLAIN, ConstrainedDecoder, Search
from projner.words import offsets

ENGLISH, SWAHILI = "eng_Latn", "swh_Latn"


@st.composite
def problems(draw) -> tuple[list[int], list[list[int]], list[tuple[int, int]]]:
    """Sub-words of a translation, and with markers (1 and 2) around each of some spans."""
    plain = draw(st.lists(st.integers(3, 5), min_size=1, max_size=7))
    every = [(a, b) for a in range(len(plain)) for b in range(a + 1, len(plain) + 1)]
    spans = draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    return plain, [[*plain[:a], 1, *plain[a:b], 2, *plain[b:]] for a, b in spans], spans


def _model(seed: int, peaked: float):
    """A language model by chance: the log-probabilities of a sequence's items and its end's."""

    def scores(ids: list[int]) -> np.ndarray:
        values = []
        for place, wanted in enumerate([*ids, 0]):
            chance = np.random.default_rng([seed, *ids[:place]])
            values.append(np.log(chance.dirichlet(np.full(6, peaked)) + 1e-9)[wanted])
        return np.array(values)

    return scores


@given(
    problem=problems(),
    seed=st.integers(0, 999),
    peaked=st.sampled_from([0.05, 0.3, 1, 10]),
    at_once=st.integers(1, 5),
)
def test_the_search_finds_what_scoring_every_span_finds(problem, seed, peaked, at_once) -> None:
    plain, marked, spans = problem
    scores = _model(seed, peaked)
    starts, ends = np.array(spans).T
    search = Search(plain, marked, starts, ends)
    scored = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constrained, "AT_ONCE", at_once)
        while asked := search.next():
            assert len(asked) <= at_once
            for span in asked:
                search.learn(span, scores(plain if span == PLAIN else marked[span]))
            scored += asked
    assert len(set(scored)) == len(scored)
    every = np.array([scores(ids).sum() for ids in [*marked, plain]])
    assert search.lost == (every.argmax() == len(marked))
    shares = np.exp(every - every.max())
    kept = np.where(shares >= LEAST, shares, 0)[:-1]
    expected = 0 * kept if search.lost else kept / (kept.sum() + shares[-1])
    np.testing.assert_allclose(search.probabilities(), expected, atol=1e-12)


def test_the_search_scores_few_spans_where_one_is_clear() -> None:
    plain = [3, 4, 5] * 6
    spans = [(a, b) for a in range(18) for b in range(a + 1, 19)]
    marked = [[*plain[:a], 1, *plain[a:b], 2, *plain[b:]] for a, b in spans]
    wanted = [*plain[:7], 1, *plain[7:9], 2, *plain[9:], 0]

    def scores(ids: list[int]) -> np.ndarray:
        # One who knows where the markers belong, and follows whoever puts them elsewhere.
        right = [a == b for a, b in zip([*ids, 0], wanted, strict=False)]
        good = np.cumprod([*right, *[False] * (len(ids) + 1 - len(right))]).astype(bool)
        first = np.flatnonzero(~good)[:1]
        values = np.full(len(ids) + 1, -0.01)
        values[first] = -8.0
        return values

    search = Search(plain, marked, *np.array(spans).T)
    count = 0
    while asked := search.next():
        count += len(asked)
        for span in asked:
            search.learn(span, scores(plain if span == PLAIN else marked[span]))
    assert spans[int(search.probabilities().argmax())] == (7, 9)
    assert len(spans) == 171
    assert count < 20


def test_nothing_to_search() -> None:
    search = Search([3, 4], [], np.array([], int), np.array([], int))
    assert search.next() == []
    assert search.probabilities().tolist() == []


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Sentences of the demo, with all short spans as candidates."""
    sides = {side: f1.read_labelled(str(CORPUS / f"test.{side}.conll")) for side in ("eng", "swh")}
    rows = []
    for number in range(12):
        source, target = (sides[side].tokens[number] for side in ("eng", "swh"))
        spans = to_spans(sides["eng"].tags[number])
        candidates = [
            {"source_index": index, "start": start, "end": end}
            for index in range(len(spans))
            for start in range(len(target))
            for end in range(start + 1, min(start + 3, len(target)) + 1)
        ]
        texts = {"source_text": " ".join(source), "target_text": " ".join(target)}
        words = {"source_tokens": source, "target_tokens": target}
        languages = {"source_lang": ENGLISH, "target_lang": SWAHILI}
        state = {"status": "ok", "status_detail": None}
        entities = [{**span._asdict(), "score": 1.0} for span in spans]
        given = {"source_entities": entities, "candidates": candidates}
        rows.append({**texts, **words, **languages, **state, **given})
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def _decoder(model, kind: markers.Kind = "brackets", alone=True, **settings) -> ConstrainedDecoder:
    exact = {"device": "cpu", "dtype": "float32"}
    config = Translate(model=str(model), **{**exact, **settings})
    decoder = ConstrainedDecoder(config, kind, alone=alone)
    decoder.setup(1)
    return decoder


def _each_scored(row: dict, engine, kind: markers.Kind) -> tuple[list[float], int]:
    """The probabilities of a row's candidates, by scoring every one; how many entities are lost."""
    opening, closing = markers.around(kind)
    sides = {
        side: (row[f"{side}_text"], offsets(row[f"{side}_text"], row[f"{side}_tokens"]))
        for side in ("source", "target")
    }

    def marked(side: str, start: int, end: int) -> str:
        text, places = sides[side]
        a, b = places[start][0], places[end - 1][1]
        return f"{text[:a]}{opening}{text[a:b]}{closing}{text[b:]}"

    found: list[float] = []
    lost = 0
    for number, entity in enumerate(row["source_entities"]):
        own = [each for each in row["candidates"] if each["source_index"] == number]
        targets = [marked("target", each["start"], each["end"]) for each in own]
        targets.append(row["target_text"])
        source = [marked("source", entity["start"], entity["end"])] * len(targets)
        languages = [[find(code)] * len(targets) for code in (ENGLISH, SWAHILI)]
        totals = [scores.sum() for scores in engine.token_scores(source, targets, *languages)]
        *shares, none = (math.exp(total - max(totals)) for total in totals)
        lost += none == 1
        shares = [share if share >= LEAST and none < 1 else 0 for share in shares]
        found += [share / (sum(shares) + none) for share in shares]
    return found, lost


@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
@pytest.mark.parametrize("kind", ["brackets", "xml"])
def test_the_decoder_finds_what_scoring_every_span_finds(
    engine, kind, marked_translator, table
) -> None:
    decoder = _decoder(marked_translator, kind, engine=engine)
    made = stage.run(decoder, table.slice(0, 6))
    config = Translate(model=str(marked_translator), engine=engine, device="cpu", dtype="float32")
    reference = load(config, 1)
    for row in made.to_pylist():
        expected, lost = _each_scored(row, reference, kind)
        np.testing.assert_allclose(row["codec_scores"], expected, atol=2e-3)
        count = len(row["source_entities"])
        detail = f"the model leaves out the markers of {lost} of {count} entities"
        state = ("markers_lost", detail) if lost else ("ok", None)
        assert (row["status"], row["status_detail"]) == state
    counted = decoder.counters()
    assert counted["entities"] == sum(map(len, made["source_entities"].to_pylist()))
    assert counted["spans"] == sum(map(len, made["candidates"].to_pylist()))
    # One who knows what markers are for is soon asked out.
    assert counted["scored"] < counted["spans"] / 2


def test_batches_do_not_matter(marked_translator, table, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _decoder(marked_translator)(table)
    monkeypatch.setattr(constrained, "PART_ROWS", 2)
    monkeypatch.setattr(constrained, "AT_ONCE", 1)
    decoder = _decoder(marked_translator, batch_tokens=1)
    parts = pa.concat_tables([decoder(table.slice(n, 5)) for n in (0, 5, 10)])
    assert parts["status"].equals(whole["status"])
    scores = (each["codec_scores"].to_pylist() for each in (whole, parts))
    for one, other in zip(*scores, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_model_that_does_not_know_markers_is_not_believed(nllb: str, table) -> None:
    decoder = _decoder(nllb)
    made = stage.run(decoder, table).to_pylist()
    labelled = [row for row in made if row["source_entities"]]
    assert {row["status"] for row in labelled} == {"markers_lost"}
    assert not any(score for row in labelled for score in row["codec_scores"])
    assert decoder.counters()["lost"] == decoder.counters()["entities"] > 10
    # Where others score too, that is for them to say.
    beside = stage.run(_decoder(nllb, alone=False), table)
    assert set(beside["status"].to_pylist()) == {"ok"}
    assert beside["codec_scores"].to_pylist() == [row["codec_scores"] for row in made]


def test_what_cannot_be_scored(nllb: str, table) -> None:
    row = next(row for row in table.to_pylist() if row["source_entities"])
    sides = [f"{side}_{kind}" for side in ("source", "target") for kind in ("text", "tokens")]
    long = {name: " ".join([row[name]] * 40) for name in sides if name.endswith("text")}
    long |= {name: row[name] * 40 for name in sides if name.endswith("tokens")}
    rows = [
        row | {"source_entities": [], "candidates": []},
        row | {"candidates": []},
        row | long,
        row | {"target_lang": "bam_Latn"},
        row | {"target_text": "another"},
        row,
    ]
    given = pa.Table.from_pylist(rows, schema=table.schema)
    made = stage.run(_decoder(nllb, alone=False), given).to_pylist()
    statuses = ["ok", "ok", "too_long", "translation_failed", "error", "ok"]
    assert [row["status"] for row in made] == statuses
    assert made[1]["codec_scores"] == []
    assert "sub-words; the model reads" in made[2]["status_detail"]
    assert made[3]["status_detail"] == "the model does not know bam_Latn"
    assert "is not in the text" in made[4]["status_detail"]
