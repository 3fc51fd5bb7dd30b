"""Agreement between methods, held against seqeval and a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import tags
from projner.evaluate import agreement, f1
from tests.evaluate.test_f1 import TAGS

CLASSES = {"A": 0, "B": 1}
SENTENCES = st.lists(st.tuples(TAGS, TAGS, TAGS), min_size=1, max_size=6)


def spans(sentences: list[list[str]]) -> agreement.Spans:
    found = [
        (row, start, end, CLASSES[label])
        for row, line in enumerate(sentences)
        for start, end, label in tags.to_spans(line)
    ]
    return np.array(found, np.int64).reshape(-1, 4)


def by_seqeval(ours: list[list[str]], theirs: list[list[str]]) -> float:
    if not len(spans(ours)) and not len(spans(theirs)):
        return 1.0
    return f1.score(ours, theirs).overall.f1


@given(SENTENCES)
def test_pairs_agree_as_seqeval_says(sentences: list[tuple[list[str], ...]]) -> None:
    methods = [list(column) for column in zip(*sentences, strict=True)]
    found = agreement.pairwise([spans(method) for method in methods])
    for a, ours in enumerate(methods):
        for b, theirs in enumerate(methods):
            assert found[a, b] == pytest.approx(by_seqeval(ours, theirs))


@given(SENTENCES)
def test_the_majority_is_what_more_than_half_have(sentences: list[tuple[list[str], ...]]) -> None:
    methods = [list(column) for column in zip(*sentences, strict=True)]
    voted = []
    for lines in sentences:
        votes = [span for line in lines for span in tags.to_spans(line)]
        # Writing them as tags shows that they do not overlap.
        voted.append(tags.to_tags({span for span in votes if votes.count(span) > 1}, 4))
    found = agreement.with_majority([spans(method) for method in methods])
    assert found == pytest.approx([by_seqeval(voted, method) for method in methods])


def test_half_is_no_majority() -> None:
    one, other = spans([["B-A", "O"]]), spans([["O", "B-A"]])
    assert agreement.with_majority([one, other]).tolist() == [0, 0]
    assert agreement.with_majority([one, one, other]).tolist() == [1, 1, 0]
