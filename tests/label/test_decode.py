from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projner import record, tags
from projner.label.decode import Labels, entities

TAGS = ["I-LOC", "O", *(f"{prefix}-{label}" for label in ("PER", "ORG") for prefix in "BIES")]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(TAGS), max_size=12), max_size=6), st.integers(0, 99))
def test_entities_are_the_spans_of_the_tags(sentences, seed):
    flat = [tag for sentence in sentences for tag in sentence]
    probabilities = np.random.default_rng(seed).uniform(0, 0.4, (len(flat), len(TAGS)))
    probabilities = probabilities.astype(np.float32)
    chosen = np.array([TAGS.index(tag) for tag in flat], int)
    surety = np.random.default_rng(seed + 1).uniform(0.5, 1, len(flat)).astype(np.float32)
    probabilities[np.arange(len(flat)), chosen] = surety

    counts = np.array([len(sentence) for sentence in sentences], int)
    found = entities(probabilities, counts, TAGS)
    assert found.type == pa.list_(record.ENTITY)
    assert len(found) == len(sentences)
    for sentence, before, got in zip(
        sentences, np.cumsum(counts) - counts, found.to_pylist(), strict=True
    ):
        spans = tags.to_spans(sentence)
        assert [(e["start"], e["end"], e["label"]) for e in got] == spans
        for entity, span in zip(got, spans, strict=True):
            words = surety[before + span.start : before + span.end]
            assert entity["score"] == pytest.approx(np.mean(words), abs=1e-6)


@pytest.mark.parametrize(
    ("names", "rename", "ignore", "expected"),
    [
        (["O", "B-PER", "I-PER"], {}, [], (["O", "B-PER", "I-PER"], [0, 1, 2])),
        (["I-MISC", "I-PER", "O"], {}, [], (["I-MISC", "I-PER", "O"], [0, 1, 2])),
        (["O", "B-GPE", "I-GPE"], {"GPE": "LOC"}, [], (["O", "B-LOC", "I-LOC"], [0, 1, 2])),
        (["O", "B-GPE", "B-LOC"], {"GPE": "LOC"}, [], (["O", "B-LOC"], [0, 1, 1])),
        (["B-MISC", "O", "B-PER"], {}, ["MISC"], (["O", "B-PER"], [0, 0, 1])),
        (["O", "X", "[CLS]", "B-PER"], {}, ["X", "[CLS]"], (["O", "B-PER"], [0, 0, 0, 1])),
        (["O", "B-A", "B-B"], {"A": "B", "B": "A"}, [], (["O", "B-B", "B-A"], [0, 1, 2])),
        (["O", "S-PER", "E-NORP-X"], {}, [], (["O", "S-PER", "E-NORP-X"], [0, 1, 2])),
    ],
)
def test_labels(names, rename, ignore, expected):
    labels = Labels.read(names, rename, ignore)
    assert (list(labels.tags), list(labels.columns)) == expected
    assert labels.tags[labels.outside] == "O"


def test_fold_adds_up_what_became_one():
    labels = Labels.read(["B-GPE", "O", "B-LOC", "B-MISC"], {"GPE": "LOC"}, ["MISC"])
    folded = labels.fold(np.array([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]], np.float32))
    assert labels.tags == ("B-LOC", "O")
    np.testing.assert_allclose(folded, [[0.4, 0.6], [1, 0]], rtol=1e-6)
    assert folded.dtype == np.float32


def test_fold_leaves_what_has_nothing_to_fold():
    probabilities = np.array([[0.25, 0.75]], np.float32)
    assert (Labels.read(["O", "B-PER"]).fold(probabilities) == probabilities).all()


@pytest.mark.parametrize(
    ("names", "rename", "ignore", "message"),
    [
        (["LABEL_0", "LABEL_1"], {}, [], "'LABEL_0' is not a tag .* under id2label"),
        (["O", "PER"], {}, [], "'PER' is not a tag .* or list it under `ignore`"),
        (["B-PER", "I-PER"], {}, [], "no label is called O"),
        (["O", "B-PER", "B-LOC"], {"GPE": "LOC"}, [], "no class GPE .* it knows LOC, PER"),
        (["O", "B-PER"], {}, ["Misc"], "no class Misc .* it knows PER"),
    ],
)
def test_labels_that_cannot_be_read(names, rename, ignore, message):
    with pytest.raises(ValueError, match=message):
        Labels.read(names, rename, ignore)
