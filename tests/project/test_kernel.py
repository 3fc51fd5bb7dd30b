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
from projner.project import candidates, kernel, match, scores
from projner.project.kernel import Found
from projner.project.stages import Match
from tests.project import test_scores as data

SCORES = ["align", "align_gap", "evidence"]
MAX_WORDS = 6


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
                {"start": a, "end": b, "label": "PER", "score": 1.0} for a, b in sentence.entities
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


def at_once(sentences: Sequence[Sentence], score: str, max_words: int = MAX_WORDS) -> Found:
    table = as_table(sentences)
    (source, target), distinct = columns.encode(table["source_tokens"], table["target_tokens"])
    rows = kernel.rows(
        columns.lists(table["source_entities"], ["start", "end"]),
        columns.lists(table["links"], ["source", "target"]),
        columns.lists(table["surface_links"], ["source", "target", "score"]),
        source,
        target,
    )
    return kernel.match(rows, kernel.words(distinct), score, max_words)  # type: ignore[arg-type]


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
def test_words_are_their_forms(words: list[str]) -> None:
    known = kernel.words(words)
    names = sorted({script for word in words for *_, script in map(scores.form, word)} | {""})
    found = zip(known.letters, known.case, (names[number] for number in known.script), strict=True)
    assert list(found) == [scores.form(word) for word in words]
    assert known.scripts == len(names)


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
    [(kernel.MAX_CLASHING, 9, False), (kernel.MAX_CLASHING + 1, 9, True), (63, 1, True)],
)
def test_too_many_entities_that_clash_are_left(entities: int, words: int, is_left: bool) -> None:
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


@pytest.mark.parametrize(
    "settings",
    [{"solver": "greedy"}, {"limit": 2}, {"limit": "unlimited"}],
    ids=str,
)
def test_settings_that_the_kernel_does_not_know_are_heeded(settings: dict[str, Any]) -> None:
    table = as_table(many_sentences(2)[:1000], beside=False)
    step = Match(Project(score="align", **settings))
    assert stage.run(step, table).to_pylist() == in_parts(step, table).to_pylist()


def test_a_bad_row_costs_only_itself() -> None:
    sentences = many_sentences(3)
    at = next(row for row, sentence in enumerate(sentences) if sentence.entities)
    sentences[at] = sentences[at]._replace(links=[(99, 0)])
    table = as_table(sentences)
    done = methods.apply([Match(Project())], table)
    wrong = np.flatnonzero(~record.is_open(done)).tolist()
    assert wrong == [at]
    assert done["status"][at].as_py() == "error"
