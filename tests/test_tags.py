"""Tags <-> spans: tables of broken sequences, round trips, and seqeval as the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from projner import tags
from projner.tags import IOB1, IOB2, IOBES, Span

LABELS = st.sampled_from(["PER", "LOC", "ORG"])


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Span], int]:
    spans, position = [], 0
    for gap, length, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), LABELS), max_size=6)
    ):
        spans.append(Span(position + gap, position + gap + length, label))
        position += gap + length
    return spans, position + draw(st.integers(0, 2))


@pytest.mark.parametrize(
    ("sequence", "spans"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("I-PER I-PER O", [(0, 2, "PER")]),
        ("I-PER B-PER I-PER", [(0, 1, "PER"), (1, 3, "PER")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("O I-ORG", [(1, 2, "ORG")]),
        ("S-PER S-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-ORG I-ORG E-ORG", [(0, 3, "ORG")]),
        ("E-ORG", [(0, 1, "ORG")]),
        ("B-ORG E-ORG I-ORG", [(0, 2, "ORG"), (2, 3, "ORG")]),
        ("S-ORG I-ORG", [(0, 1, "ORG"), (1, 2, "ORG")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
    ],
)
def test_spans_of_whole_and_broken_sequences(sequence: str, spans: list[tuple]) -> None:
    assert tags.to_spans(sequence.split()) == [Span(*span) for span in spans]


@pytest.mark.parametrize("tag", ["X-PER", "PER", "B-", "B", "b-PER", "", "-PER", "BPER"])
def test_a_tag_outside_the_scheme_is_named(tag: str) -> None:
    with pytest.raises(ValueError, match="is not a tag of IOBES"):
        tags.to_spans(["O", tag])


def test_a_scheme_refuses_the_prefixes_of_another() -> None:
    with pytest.raises(ValueError, match="'S-PER' is not a tag of IOB2"):
        tags.to_spans(["S-PER"], IOB2)


@pytest.mark.parametrize("scheme", [IOB1, IOB2, IOBES], ids=lambda scheme: scheme.name)
@given(sentence=sentences())
def test_every_scheme_keeps_the_spans(scheme: tags.Scheme, sentence: tuple) -> None:
    spans, length = sentence
    written = tags.to_tags(spans, length, scheme)
    assert tags.to_spans(written, scheme) == spans
    assert tags.to_spans(written) == spans


@pytest.mark.parametrize("scheme", [IOB2, IOBES], ids=lambda scheme: scheme.name)
@given(sentence=sentences())
def test_seqeval_reads_the_same_spans(scheme: tags.Scheme, sentence: tuple) -> None:
    spans, length = sentence
    read = get_entities(tags.to_tags(spans, length, scheme))
    assert [Span(start, end + 1, label) for label, start, end in read] == spans


@given(
    st.lists(st.builds(lambda p, c: p if p == "O" else f"{p}-{c}", st.sampled_from("OBI"), LABELS))
)
def test_repair_means_what_conlleval_means(broken: list[str]) -> None:
    repaired = tags.repair(broken)
    assert tags.repair(repaired) == repaired
    ours = tags.to_spans(repaired, IOB2)
    assert ours == [Span(start, end + 1, label) for label, start, end in get_entities(broken)]


@pytest.mark.parametrize(
    "spans", [[(0, 0, "A")], [(0, 2, "A"), (1, 3, "B")], [(2, 9, "A")], [(-1, 1, "A")]]
)
def test_impossible_spans_are_refused(spans: list[tuple]) -> None:
    with pytest.raises(ValueError, match="overlaps another or is not within"):
        tags.to_tags([Span(*span) for span in spans], 5)
