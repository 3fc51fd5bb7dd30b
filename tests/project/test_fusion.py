"""Scores of several kinds in one: what competes, what is chosen, what another room is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import record, stage
from projner.config import Project
from projner.project import scores
from projner.project.candidates import ngrams
from projner.project.fusion import Scorer
from projner.project.stages import Candidates, Match
from projner.tags import Span, to_tags
from tests.conftest import labelled

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
Row = dict[str, Any]


def row(
    source: str, target: str, links: str = "", probs: Any = None, seen: str | None = None
) -> Row:
    """A row with a labelled source, target words and links; `seen` is the target as labelled."""
    tokens, spans = labelled(source)
    found = labelled(target if seen is None else seen)[1]
    if probs is None:
        tags = to_tags(found, len(target.split()))
        probs = [[float(tag == each) for each in TAGS] for tag in tags]
    pairs = [[int(end) for end in link.split("-")] for link in links.split()]
    return {
        "source_tokens": tokens,
        "target_tokens": target.split(),
        "source_entities": [{**span._asdict(), "score": 1.0} for span in spans],
        "target_probs": [[np.float16(p) for p in word] for word in probs],
        "links": [{"source": s, "target": t, "score": 1.0} for s, t in pairs],
        "target_labels": [{**span._asdict(), "score": 1.0} for span in found],
        "status": "ok",
        "status_detail": None,
    }


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def project(rows: list[Row], **settings: Any) -> list[Row]:
    config = Project(**{"surface": None, **settings})
    return stage.run(Match(config, TAGS), table(rows)).to_pylist()


def spans(done: Row) -> list[Span]:
    return [Span(e["start"], e["end"], e["label"]) for e in done["target_entities"]]


CASES = [
    # Links and tagger are of one mind.
    ({"align": 0.5, "ner": 0.5}, "0-0 1-1 2-2", "[PER Ada] saw [LOC Roma]", None),
    # Nothing but the tagger knows where Rome is: a span without links wins.
    ({"align": 0.5, "ner": 0.5}, "0-0 1-1", "[PER Ada] saw [LOC Roma]", None),
    ("ner", "", "[PER Ada] saw [LOC Roma]", None),
    # Class-blind, entities go to what is seen, in their order.
    ("ner_spans", "", "[PER Ada] saw [LOC Roma]", "[LOC Ada] saw [PER Roma]"),
    ("ner", "", "Ada saw Roma", "[ORG Ada] saw Roma"),
    # A link against a tagger: half each, and the shorter or the first wins; by weight otherwise.
    ({"align": 2, "ner_spans": 1}, "0-0 2-1", "[PER Ada] [LOC saw] Roma", "[PER Ada] saw [LOC Roma]"),
    ({"align": 1, "ner_spans": 2}, "0-0 2-1", "[PER Ada] saw [LOC Roma]", "[PER Ada] saw [LOC Roma]"),
]  # fmt: skip


@pytest.mark.parametrize(("score", "links", "expected", "seen"), CASES)
def test_known_answers(score: Any, links: str, expected: str, seen: str | None) -> None:
    words, wanted = labelled(expected)
    seen = seen or expected
    tags = [tag if tag in TAGS else "O" for tag in to_tags(labelled(seen)[1], len(words))]
    probs = [[float(tag == each) for each in TAGS] for tag in tags]
    given_row = row("[PER Ada] saw [LOC Rome]", " ".join(words), links, probs)
    (done,) = project([given_row], score=score)
    assert done["status"] == "ok"
    assert spans(done) == wanted


def test_candidates_are_what_a_tagger_finds() -> None:
    seen = "[LOC Ada] [PER saw Roma]"
    given_row = row("[PER Ada] saw [LOC Rome]", "Ada saw Roma", "0-0 1-1 2-2", seen=seen)
    (done,) = project([given_row], score="align", candidates="ner")
    assert spans(done) == [Span(0, 1, "PER"), Span(1, 3, "LOC")]
    (done,) = project([given_row], score="align", candidates="ner", max_words=1)
    assert spans(done) == [Span(0, 1, "PER")]
    (done,) = project([given_row | {"target_labels": []}], score="align", candidates="ner")
    assert spans(done) == []


@pytest.mark.parametrize(
    ("settings", "column", "what"),
    [
        ({"score": "ner"}, "target_probs", "labels of a tagger on its target side"),
        ({"candidates": "ner"}, "target_labels", "labels of a tagger on its target side"),
    ],
)
def test_a_row_without_a_taggers_labels_is_no_row_without_any(
    settings: dict[str, Any], column: str, what: str
) -> None:
    good = row("[PER Ada] left", "Ada aliondoka", "0-0")
    done = project([good, good | {column: None}], **settings)
    assert [each["status"] for each in done] == ["ok", "error"]
    assert done[1]["status_detail"] == f"the row has no {what}"


ASKED = [
    # Alone, all of them; beside others, what these leave.
    ("nmt", None, {(e, s, t) for e in (0, 1) for s, t in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]}),
    ({"align": 1, "nmt": 1}, None, {(0, 0, 1), (0, 0, 2), (1, 1, 3), (1, 2, 3)}),
    ({"align_gap": 1, "nmt": 2}, None, {(0, 0, 1), (1, 2, 3)}),
    ("nmt", "linked", {(0, 0, 1), (0, 2, 3), (1, 0, 1), (1, 2, 3)}),
    ("nmt", "ner", {(0, 0, 1), (0, 1, 3), (1, 0, 1), (1, 1, 3)}),
    ({"align_gap": 1, "nmt": 2, "codec": 1}, None, {(0, 0, 1), (1, 2, 3)}),
]


@pytest.mark.parametrize(("score", "competing", "expected"), ASKED)
def test_what_another_room_is_asked(
    score: Any, competing: str | None, expected: set[tuple[int, int, int]]
) -> None:
    seen = "[LOC Ada] [PER saw Roma]"
    rows = [row("[PER Ada] saw [LOC Rome]", "Ada saw Roma", "0-0 2-2", seen=seen), row("a", "b")]
    config = Project(score=score, surface=None, max_words=2, candidates=competing or "ngram")
    asked = stage.run(Candidates(config), table(rows))["candidates"].to_pylist()
    assert [(e["source_index"], e["start"], e["end"]) for e in asked[0]] == sorted(expected)
    assert asked[1] == []


def test_entities_that_want_the_same_words_share_them_out_by_probability() -> None:
    pair = row("[PER Ada] [LOC Ada]", "Ada Ada")
    spans = [(0, 0, 1), (0, 0, 2), (0, 1, 2), (1, 0, 1), (1, 1, 2)]
    pair["candidates"] = [
        dict(zip(("source_index", "start", "end"), s, strict=True)) for s in spans
    ]
    pair["codec_scores"] = [0.6, 0.1, 0.3, 0.9, 0.1]
    (done,) = project([pair], score="codec")
    assert [(e["source_index"], e["start"], e["end"]) for e in done["target_entities"]] == [
        (1, 0, 1),
        (0, 1, 2),
    ]
    assert [e["score"] for e in done["target_entities"]] == pytest.approx([0.9, 0.3])


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_a_fusion_is_the_sum_of_its_scores(n_words: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    links = " ".join(f"{s}-{t}" for s in (0, 1, 3) for t in range(n_words) if chance.random() < 0.4)
    target = " ".join("w" * n_words)
    made = row("[PER a b] c [LOC d]", target, links, chance.dirichlet(np.ones(5), n_words).tolist())
    both = Scorer(Project(score={"align": 1, "ner": 3, "nmt": 4}, surface=None), TAGS)
    align, ner = (Scorer(Project(score=name, surface=None), TAGS) for name in ("align", "ner"))
    (sentence,) = both.sentences(table([made]))
    competing = both.candidates(sentence)
    assert [each.tolist() for each in competing] == [each.tolist() for each in ngrams(n_words, 10)]
    others = both.score(sentence, competing, without={"nmt"})
    asked = np.argwhere(others)
    triples = np.array([(e, competing[0][c], competing[1][c]) for e, c in asked], np.int32)
    similar = chance.random(len(asked)) * 1.5
    sentence = sentence._replace(candidates=triples.reshape(-1, 3), nmt=similar)
    expected = align.score(sentence, competing) + 3 * ner.score(sentence, competing)
    assert others == pytest.approx(expected / 4)
    expected += 4 * scores.nmt(2, sentence.candidates, similar, competing)
    assert both.score(sentence, competing) == pytest.approx(expected / 8)
    assert (both.score(sentence, competing)[others == 0] == 0).all()
