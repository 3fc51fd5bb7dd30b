"""F1 as users will quote it: hand-counted tables, and conlleval's definition as the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import tags
from projner.errors import JobError
from projner.evaluate import f1
from projner.evaluate.f1 import Labelled

TAGS = st.lists(
    st.builds(
        lambda p, c: p if p == "O" else f"{p}-{c}", st.sampled_from("OBI"), st.sampled_from("AB")
    ),
    min_size=4,
    max_size=4,
).map(tags.repair)


@pytest.mark.parametrize(
    ("gold", "predicted", "precision", "recall", "figure"),
    [
        ("B-A I-A O", "B-A I-A O", 1, 1, 1),
        ("B-A I-A O", "B-A O O", 0, 0, 0),
        ("B-A O B-B", "B-A O O", 1, 0.5, 2 / 3),
        ("B-A O O", "B-B O O", 0, 0, 0),
        ("B-A O O", "O O O", 0, 0, 0),
        ("O O O", "O B-A O", 0, 0, 0),
        ("B-A B-A O", "B-A I-A O", 0, 0, 0),
    ],
)
def test_hand_counted(
    gold: str, predicted: str, precision: float, recall: float, figure: float
) -> None:
    overall = f1.score([gold.split()], [predicted.split()]).overall
    assert (overall.precision, overall.recall, overall.f1) == pytest.approx(
        (precision, recall, figure)
    )


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=8))
def test_counts_are_of_equal_spans(sentences: list[tuple[list[str], list[str]]]) -> None:
    gold = {(n, *span) for n, (g, _) in enumerate(sentences) for span in tags.to_spans(g)}
    ours = {(n, *span) for n, (_, p) in enumerate(sentences) for span in tags.to_spans(p)}
    overall = f1.score([g for g, _ in sentences], [p for _, p in sentences]).overall
    right = len(gold & ours)
    assert overall.support == len(gold)
    assert overall.precision == pytest.approx(right / len(ours) if ours else 0)
    assert overall.recall == pytest.approx(right / len(gold) if gold else 0)


def test_ignored_classes_count_on_neither_side() -> None:
    gold = Labelled("g", [["a", "b"]], [["B-PER", "B-MISC"]])
    predicted = Labelled("p", [["a", "b"]], [["B-PER", "B-DATE"]])
    evaluation = f1.evaluate(gold, predicted, ["MISC", "DATE"])
    assert evaluation.overall.f1 == 1
    assert list(evaluation.classes) == ["PER"]
    assert "ignore:DATE,MISC" in evaluation.signature


def test_other_sentences_are_refused() -> None:
    gold = Labelled("g", [["a"], ["b"]], [["O"], ["O"]])
    with pytest.raises(JobError, match="g has 2 sentences and p 1"):
        f1.evaluate(gold, Labelled("p", [["a"]], [["O"]]))
    with pytest.raises(JobError, match="sentence 2 differs: g has 'b', p has 'c'"):
        f1.evaluate(gold, Labelled("p", [["a"], ["c"]], [["O"], ["O"]]))


def test_a_file_in_any_scheme_is_read_as_iob2(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("Ada I-PER\nLovelace I-PER\n\nParis S-LOC\n", encoding="utf-8")
    labelled = f1.read_labelled(str(path))
    assert labelled.tags == [["B-PER", "I-PER"], ["B-LOC"]]
    assert f1.read_labelled(str(path), skip=1).tokens == [["Paris"]]
