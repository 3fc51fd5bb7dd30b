"""What figures are made of: every table adds up to all entities, and seqeval agrees class by class."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner import tags
from projner.evaluate import details, f1
from projner.evaluate.details import BOUNDARY, MISSED, SPURIOUS, Tally
from projner.evaluate.f1 import Labelled
from tests.conftest import labelled
from tests.evaluate.test_f1 import TAGS

SENTENCES = st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=8)
WORDS = ["a", "b", "a", "b"]


def of(sentences: list[tuple[list[str], list[str]]], known: set[details.Name] | None = None):
    gold = Labelled("g", [WORDS] * len(sentences), [truth for truth, _ in sentences])
    return details.details(gold, [guess for _, guess in sentences], known)


def total(tallies: dict[str, Tally]) -> tuple[int, ...]:
    parts = [(tally.right, tally.predicted, tally.gold) for tally in tallies.values()]
    return tuple(map(sum, zip(*parts, strict=True)))


@settings(max_examples=50)
@given(SENTENCES)
def test_every_table_adds_up_to_what_seqeval_counts(sentences):
    gold, guess = [g for g, _ in sentences], [p for _, p in sentences]
    expected = f1.score(gold, guess)
    predicted = sum(len(tags.to_spans(line)) for line in guess)
    right = round(expected.overall.precision * predicted)
    found = of(sentences, {(("a",), "A"), (("b", "a"), "B")})
    assert total(found.lengths) == total(found.seen) == (right, predicted, expected.overall.support)

    confusion = found.confusion
    for name, figures in expected.classes.items():
        assert sum(confusion[name].values()) == figures.support
        of_class = sum(row[name] for row in confusion.values())
        diagonal = confusion[name][name]
        assert figures.recall == pytest.approx(diagonal / max(figures.support, 1))
        assert figures.precision == pytest.approx(diagonal / max(of_class, 1))
        both = of_class + figures.support
        assert figures.f1 == pytest.approx(2 * diagonal / max(both, 1))
    assert set(confusion) == {*expected.classes, BOUNDARY, SPURIOUS}


@given(SENTENCES)
def test_the_other_way_round_the_confusion_is_turned(sentences):
    there = of(sentences).confusion
    back = of([(guess, truth) for truth, guess in sentences]).confusion
    turned = {BOUNDARY: BOUNDARY, MISSED: SPURIOUS}
    for row, cells in there.items():
        for column, count in cells.items():
            if row not in turned and row != SPURIOUS:
                assert back[turned.get(column, column)][row] == count


def test_hand_counted_errors():
    gold = labelled("[PER Ada Byron] of [LOC Rome] met [ORG Bank of Kenya today] and [PER Eva]")
    guess = labelled("[PER Ada Byron] [PER of] [ORG Rome] met [ORG Bank of Kenya] today and Eva")
    words = gold[0]
    pair = [tags.to_tags(spans, len(words)) for _, spans in (gold, guess)]
    known = {(("Ada", "Byron"), "PER"), (("Rome",), "ORG")}
    found = details.details(Labelled("g", [words], pair[:1]), pair[1:], known)
    zero = {"LOC": 0, "ORG": 0, "PER": 0}
    assert found.confusion == {
        "LOC": {**zero, "ORG": 1, BOUNDARY: 0, MISSED: 0},
        "ORG": {**zero, BOUNDARY: 1, MISSED: 0},
        "PER": {**zero, "PER": 1, BOUNDARY: 0, MISSED: 1},
        BOUNDARY: {**zero, "ORG": 1},
        SPURIOUS: {**zero, "PER": 1},
    }
    assert found.lengths == {
        "1": Tally(0, 2, 2),
        "2": Tally(1, 1, 1),
        "3": Tally(0, 1, 0),
        "4+": Tally(0, 0, 1),
    }
    # Rome is seen as an ORG: so it counts as seen for who says ORG, and as unseen in the gold.
    assert found.seen == {"seen": Tally(1, 2, 1), "unseen": Tally(0, 2, 3)}
    assert of([(["O"] * 4, ["O"] * 4)]).seen is None
