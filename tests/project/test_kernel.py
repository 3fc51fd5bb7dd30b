"""The compiled projection against candidates, scores and matching sentence by sentence."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import columns, methods, record, stage
from projner.align.surface import surface_links
from projner.config import Project
from projner.project import candidates, exact, kernel, many, match, scores
from projner.project.fusion import Scorer
from projner.project.many import Found
from projner.project.stages import Match
from tests.project import test_scores as data

SCORES = ["align", "align_gap", "evidence"]
MAX_WORDS = 6
LABELS = ["PER", "PER", "DATE"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


class Sentence(NamedTuple):
    source: list[str]
    target: list[str]
    entities: list[tuple[int, int]]
    links: list[tuple[int, int]]
    surface: list[tuple[int, int, float]]


def some_sentence(chance: random.Random) -> Sentence:
    """A few words with many links, so that entities are in each other's way, and scores alike."""
    n, m = chance.randint(1, 14), chance.randint(0, 12)
    vocabulary = chance.choice([["Ada", "Byron", "ya", ",", "7"], ["Анна", "Mali", "mali", "北京"]])
    source, target = chance.choices(vocabulary, k=n), chance.choices(vocabulary, k=m)
    cuts = sorted(chance.sample(range(n + 1), chance.randint(0, min(n + 1, 7))))
    entities = [
        (start, end) for start, end in pairwise(cuts) if end - start < 5 and chance.random() < 0.8
    ]
    if entities and chance.random() < 0.1:
        entities.append(chance.choice(entities))
    density = chance.choice([0.05, 0.1, 0.2, 0.4])
    links = [(i, j) for i in range(n) for j in range(m) if chance.random() < density]
    links += chance.choices(links, k=2) if links else []
    chance.shuffle(links)
    surface = []
    if chance.random() < 0.7:
        words = {word for span in entities for word in range(*span)}
        surface = surface_links(source, target, words, 0.3)
    return Sentence(source, target, entities, links, surface)


def as_table(sentences: Sequence[Sentence], beside: bool = True) -> pa.Table:
    rows = [
        {
            "source_tokens": sentence.source,
            "target_tokens": sentence.target,
            "source_entities": [
                {"start": a, "end": b, "label": LABELS[a % 3], "score": 1.0}
                for a, b in sentence.entities
            ],
            "links": [{"source": i, "target": j, "score": 1.0} for i, j in sentence.links],
            "status": "ok",
            "status_detail": None,
        }
        for sentence in sentences
    ]
    table = pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))
    surface = [
        [{"source": i, "target": j, "score": score} for i, j, score in sentence.surface]
        for sentence in sentences
    ]
    return record.with_column(table, "surface_links", surface) if beside else table


def at_once(sentences: Sequence[Sentence], score: Any, max_words: int = MAX_WORDS) -> Found:
    return many.match(as_table(sentences), Scorer(Project(score=score, max_words=max_words)))


def one_by_one(
    sentence: Sentence, score: str, max_words: int = MAX_WORDS
) -> list[tuple[int, int, int, float, float]]:
    """Entity, start, end, score and margin of each chosen span."""
    entities, links, surface = (
        np.array([pair[:2] for pair in pairs], np.int32).reshape(-1, 2)
        for pairs in (sentence.entities, sentence.links, sentence.surface)
    )
    spans = candidates.linked(
        entities, np.concatenate([links, surface]), len(sentence.target), max_words
    )
    if score == "evidence":
        scored = scores.evidence(
            entities,
            links,
            surface,
            np.array([similarity for *_, similarity in sentence.surface], np.float32),
            scores.forms(sentence.source),
            scores.forms(sentence.target),
            spans,
        )
    else:
        known = scores.replace_links(links, surface)
        scored = getattr(scores, score)(entities, known, len(sentence.target), spans)
    best = match.solve(scored, *spans)
    assert best.status == "optimal"
    found = []
    for entity, candidate in best.pairs:
        without = scored.copy()
        without[entity, candidate] = 0
        margin = (best.objective - match.solve(without, *spans).objective) / match.SCALE
        start, end = int(spans[0][candidate]), int(spans[1][candidate])
        found.append((entity, start, end, float(scored[entity, candidate]), margin))
    return found


def check(sentences: Sequence[Sentence], score: str, max_words: int = MAX_WORDS) -> Found:
    """That what the kernel chooses is right, where it chooses."""
    found = at_once(sentences, score, max_words)
    expected = [
        (row, *span)
        for row, sentence in enumerate(sentences)
        if sentence.entities and not found.left[row]
        for span in one_by_one(sentence, score, max_words)
    ]
    listed = np.array(expected).reshape(-1, 6).T
    for ours, theirs in zip(found[:4], listed[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(found.score, listed[4], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.margin, listed[5])
    return found


@given(st.lists(st.text(max_size=5), max_size=8))
def test_forms_of_words(words: list[str]) -> None:
    column = pa.array(["cut off", *words], pa.string()).slice(1)
    found = kernel.forms(column, np.ones(len(words), bool))
    of_words = [scores.form(word) for word in words]
    assert found.letters.tolist() == [letters for letters, *_ in of_words]
    assert found.case.tolist() == [case for _, case, _ in of_words]
    names = [script for *_, script in of_words]
    for one, name in zip(found.script, names, strict=True):
        assert (one == 0) == (name == "")
        for other, beside in zip(found.script, names, strict=True):
            assert (found.rank[one] < found.rank[other]) == (name < beside)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("max_words", [1, 4, 100])
def test_random_sentences(score: str, max_words: int) -> None:
    chance = random.Random(max_words)
    sentences = [some_sentence(chance) for _ in range(500)]
    found = check(sentences, score, max_words)
    assert len(found.row) > 200
    assert not found.left.any()


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("read", "names"),
    [
        (data.absa, ("en-es", "fast_align")),
        (data.europarl, ("de", "gdfa")),
        (data.bambara, ("accalign",)),
    ],
    ids=["absa", "europarl", "bambara"],
)
def test_real_sentences(shared_data: Path, read: Any, names: tuple[str, ...], score: str) -> None:
    sentences = []
    for (source, spans), (target, _), links in read(shared_data, *names):
        entities = [(span.start, span.end) for span in spans]
        words = {word for entity in entities for word in range(*entity)}
        surface = surface_links(source, target, words)
        sentences.append(Sentence(source, target, entities, links, surface))
    found = check(sentences, score, 10)
    assert found.left.sum() <= 1


def test_entities_with_the_same_links_take_turns() -> None:
    spans = [(0, 1), (1, 2), (2, 3), (3, 4)]
    twins = Sentence(
        ["Ada"] * 4, ["Ada"] * 3, spans, [(i, j) for i in range(3) for j in range(3)], []
    )
    found = check([twins], "align")
    assert found.entity.tolist() == found.start.tolist() == [0, 1, 2]
    # Of what scores the same, the first in reading order; a group's place is that of its first.
    groups = twins._replace(links=[(0, 0), (1, 0), (2, 1), (3, 1), (0, 1), (2, 0)])
    check([groups, groups._replace(links=[*groups.links, (1, 2)])], "align")


def crowd(entities: int, words: int) -> Sentence:
    """Entities of a word each, linked to all target words."""
    spans = [(entity, entity + 1) for entity in range(entities)]
    links = [(entity, word) for entity in range(entities) for word in range(words)]
    return Sentence(["Ada"] * entities, ["Ada"] * words, spans, links, [])


@pytest.mark.parametrize(
    ("entities", "words", "is_left"),
    [(9, 9, False), (exact.MAX_ENTITIES, 3, False), (exact.MAX_ENTITIES + 1, 1, True)],
)
def test_too_many_entities_are_left(entities: int, words: int, is_left: bool) -> None:
    easy = crowd(1, 1)
    found = check([easy, crowd(entities, words), easy], "align_gap")
    assert found.left.tolist() == [False, is_left, False]


def test_many_entities_that_do_not_clash_are_solved() -> None:
    apart = crowd(40, 0)._replace(target=["Ada"] * 40, links=[(word, word) for word in range(40)])
    assert len(check([apart], "align").row) == 40


@pytest.mark.parametrize(
    "wrong",
    [
        {"entities": [(1, 3)]},
        {"entities": [(1, 1)]},
        {"entities": [(-1, 1)]},
        {"links": [(2, 0)]},
        {"links": [(0, 1)]},
        {"links": [(0, -1)]},
        {"surface": [(0, 1, 1.0)]},
    ],
    ids=str,
)
def test_outside_the_sentence(wrong: dict[str, Any]) -> None:
    right = Sentence(["Ada", "met"], ["Ada"], [(0, 1)], [(0, 0)], [])
    with pytest.raises(IndexError, match="outside"):
        at_once([right, right._replace(**wrong)], "align")


# The stage


def many_sentences(seed: int) -> list[Sentence]:
    chance = random.Random(seed)
    sentences = [some_sentence(chance) for _ in range(columns.MANY_ROWS)]
    hard = [crowd(10, 4), crowd(70, 3), crowd(12, 12)]
    for sentence in hard:
        sentences.insert(chance.randrange(len(sentences)), sentence)
    return sentences


def in_parts(step: Match, table: pa.Table) -> pa.Table:
    rows = columns.MANY_ROWS // 2
    return pa.concat_tables(
        [stage.run(step, table.slice(at, rows)) for at in range(0, table.num_rows, rows)]
    )


@pytest.mark.parametrize("beside", [True, False], ids=["surface", "no surface"])
@pytest.mark.parametrize("score", SCORES)
def test_the_stage_gives_the_same_for_many_rows_as_for_few(score: Any, beside: bool) -> None:
    table = as_table(many_sentences(1), beside)
    step = Match(Project(score=score))
    whole, parts = stage.run(step, table), in_parts(step, table)
    assert whole.schema == parts.schema
    for ours, theirs in zip(whole.to_pylist(), parts.to_pylist(), strict=True):
        for name in ("score", "margin"):
            assert [span.pop(name) for span in ours["target_entities"]] == pytest.approx(
                [span.pop(name) for span in theirs["target_entities"]], abs=1e-6
            )
        assert ours == theirs


def seen_by_models(table: pa.Table, seed: int, sure: float = 1.0) -> pa.Table:
    """With what a tagger and a translation model might say of the target side."""
    chance = np.random.default_rng(seed)
    words = np.diff(columns.lists(table["target_tokens"]).offsets).tolist()
    entities = np.diff(columns.lists(table["source_entities"]).offsets).tolist()
    probabilities, seen, pairs = [], [], []
    for n_words, n_entities in zip(words, entities, strict=True):
        logits = sure * chance.normal(size=(n_words, len(TAGS)))
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        probabilities.append(list(shares.astype(np.float16)))
        spans = np.stack(candidates.ngrams(n_words, MAX_WORDS), axis=1)
        kept = spans[chance.random(len(spans)) < 0.3].tolist()
        chance.shuffle(kept)
        seen.append([{"start": a, "end": b, "label": "PER", "score": 1.0} for a, b in kept])
        pairs.append(
            [
                {"source_index": entity, "start": a, "end": b}
                for entity in range(n_entities)
                for a, b in kept
                if chance.random() < 0.7
            ]
        )
    table = record.with_column(table, "target_probs", probabilities)
    table = record.with_column(table, "target_labels", seen)
    table = record.with_column(table, "candidates", pairs)
    for name in ("nmt_scores", "codec_scores"):
        values = [chance.random(len(row)).astype(np.float32) for row in pairs]
        table = record.with_column(table, name, values)
    return table


def check_stage(table: pa.Table, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """That the compiled way gives what the other gives."""
    step = Match(Project(**settings), TAGS)
    monkeypatch.setattr(columns, "MANY_ROWS", 1)
    whole = stage.run(step, table)
    monkeypatch.setattr(columns, "MANY_ROWS", 10**9)
    expected = stage.run(step, table)
    assert whole["status"].to_pylist() == ["ok"] * table.num_rows
    projected = 0
    for ours, theirs in zip(whole.to_pylist(), expected.to_pylist(), strict=True):
        projected += len(theirs["target_entities"])
        for name in ("score", "margin"):
            assert [span.pop(name) for span in ours["target_entities"]] == pytest.approx(
                [span.pop(name) for span in theirs["target_entities"]], abs=2e-6
            )
        assert ours == theirs
    assert projected > table.num_rows / 2


@pytest.mark.parametrize(
    "settings",
    [
        {"score": "ner"},
        {"score": "ner", "candidates": "ner"},
        {"score": "ner", "candidates": "linked"},
        {"score": "ner", "limit": 2},
        {"score": "ner_spans"},
        {"score": "nmt"},
        {"score": "align", "candidates": "ner"},
        {"score": "align", "limit": 3},
        {"score": "evidence", "limit": "unlimited"},
        {"score": {"align": 0.5, "ner": 0.5}},
        {"score": {"evidence": 1, "ner_spans": 2}, "candidates": "linked"},
        {"score": {"align_gap": 0.5, "ner_spans": 0.5, "nmt": 1}},
        {"score": {"align": 1, "codec": 1}},
    ],
    ids=str,
)
def test_every_score(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(4)
    sentences = [some_sentence(chance) for _ in range(120)]
    table = seen_by_models(as_table(sentences), 4)
    check_stage(table, {"max_words": MAX_WORDS, **settings}, monkeypatch)


@pytest.mark.parametrize("score", ["ner", {"align": 0.5, "ner_spans": 0.5}], ids=str)
@pytest.mark.parametrize(
    ("read", "names"),
    [(data.absa, ("en-es", "awesome")), (data.europarl, ("es", "intersection"))],
    ids=["absa", "europarl"],
)
def test_real_sentences_seen_by_a_tagger(
    shared_data: Path, read: Any, names: tuple[str, ...], score: Any, monkeypatch: Any
) -> None:
    sentences = [
        Sentence(source, target, [(span.start, span.end) for span in spans], links, [])
        for (source, spans), (target, _), links in read(shared_data, *names)
        if spans
    ]
    sentences.sort(key=lambda sentence: -len(sentence.entities))
    # Entities of one class are easy by `ner`; where each has scores of its own, few are hard.
    hardest = 0 if score == "ner" else 8
    table = seen_by_models(as_table(sentences[hardest::15], beside=False), 5, 2)
    check_stage(table, {"score": score, "surface": None}, monkeypatch)


@pytest.mark.parametrize(
    "settings", [{"solver": "greedy"}, {"limit": 2, "relation": ">="}], ids=str
)
def test_settings_that_are_not_for_many_are_heeded(settings: dict[str, Any]) -> None:
    table = as_table(many_sentences(2)[:1000], beside=False)
    step = Match(Project(score="align", **settings))
    assert stage.run(step, table).to_pylist() == in_parts(step, table).to_pylist()


def test_long_tables_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    table = as_table(many_sentences(5))
    step = Match(Project())
    expected = stage.run(step, table)
    monkeypatch.setattr(many, "MAX_SCORES", 500)
    assert len(list(many._parts(table, 10))) > 20
    assert stage.run(step, table).equals(expected)


@pytest.mark.parametrize(
    ("column", "value", "score"),
    [
        ("target_probs", [np.zeros(5, np.float16)], "ner"),
        ("target_labels", [{"start": 0, "end": 9, "label": "PER", "score": 1.0}], "align"),
        ("candidates", [{"source_index": 1, "start": 0, "end": 1}], "nmt"),
        ("candidates", [], "nmt"),
    ],
)
def test_what_models_say_of_other_words(column: str, value: Any, score: Any) -> None:
    right = Sentence(["Ada", "met"], ["Ada", "ya"], [(0, 1)], [(0, 0)], [])
    table = as_table([right])
    table = record.with_column(table, "target_probs", [[np.zeros(5, np.float16)] * 2])
    table = record.with_column(table, "target_labels", [[]])
    table = record.with_column(table, "candidates", [[{"source_index": 0, "start": 0, "end": 1}]])
    table = record.with_column(table, "nmt_scores", [[0.5]])
    table = record.with_column(table, column, [value])
    kind = "ner" if column == "target_labels" else "ngram"
    with pytest.raises((IndexError, ValueError)):
        many.match(table, Scorer(Project(score=score, candidates=kind), TAGS))


def test_a_bad_row_costs_only_itself() -> None:
    sentences = many_sentences(3)
    at = next(row for row, sentence in enumerate(sentences) if sentence.entities)
    sentences[at] = sentences[at]._replace(links=[(99, 0)])
    table = as_table(sentences)
    done = methods.apply([Match(Project())], table)
    wrong = np.flatnonzero(~record.is_open(done)).tolist()
    assert wrong == [at]
    assert done["status"][at].as_py() == "error"
