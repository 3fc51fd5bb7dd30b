"""The target side's tagger, alone and with the source side's carried through links."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import record, stage
from projner.errors import JobError
from projner.project import transfer
from projner.project.transfer import Ensemble, Transfer
from projner.tags import Span, to_spans, to_tags

TAGS = ["O", "B-PER", "I-PER"]


def pairs(values: Any) -> np.ndarray:
    return np.array(values, np.int32).reshape(-1, 2)


SOURCE = np.array([[0.1, 0.9, 0.0], [0.2, 0.0, 0.8], [1.0, 0.0, 0.0]])
TARGET = np.array([[0.5, 0.5, 0.0], [0.6, 0.0, 0.4], [0.9, 0.1, 0.0]])


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        # A word without links takes the target side's.
        ([], TARGET),
        ([(0, 0)], [[0.3, 0.7, 0.0], *TARGET[1:]]),
        # Several links: their mean; one that is said twice counts once.
        ([(0, 1), (2, 1)], [TARGET[0], [0.575, 0.225, 0.2], TARGET[2]]),
        ([(0, 0), (0, 0)], [[0.3, 0.7, 0.0], *TARGET[1:]]),
        # One source word for two target words.
        ([(1, 1), (1, 2)], [TARGET[0], [0.4, 0.0, 0.6], [0.55, 0.05, 0.4]]),
    ],
)
def test_together(links: Any, expected: Any) -> None:
    found = transfer.together(SOURCE, TARGET, pairs(links))
    assert found == pytest.approx(np.array(expected))


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_together_is_still_probabilities(n_source: int, n_target: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    source, target = (chance.dirichlet(np.ones(3), n) for n in (n_source, n_target))
    links = np.argwhere(chance.random((n_source, n_target)) < 0.4).astype(np.int32)
    found = transfer.together(source, target, links)
    assert found.shape == (n_target, 3)
    assert found.sum(axis=1) == pytest.approx(np.ones(n_target))
    for word in range(n_target):
        own = [source[s] for s, t in links if t == word]
        mean = (target[word] + np.mean(own, axis=0)) / 2 if own else target[word]
        assert found[word] == pytest.approx(mean)


def test_decoded() -> None:
    found = np.array([[0.2, 0.8, 0.0], [0.3, 0.1, 0.6], [0.7, 0.3, 0.0], [0.1, 0.0, 0.9]])
    assert transfer.decoded(found, TAGS) == [
        (Span(0, 2, "PER"), pytest.approx(0.7)),
        (Span(3, 4, "PER"), pytest.approx(0.9)),
    ]
    assert transfer.decoded(np.empty((0, 3)), TAGS) == []


def test_tags_are_matched_by_name() -> None:
    assert transfer.same_tags(["O", "B-PER", "I-PER"], ["I-PER", "O", "B-PER"]) == [2, 0, 1]
    with pytest.raises(JobError) as refused:
        transfer.same_tags(["O", "B-PER", "B-GPE"], ["O", "B-PER", "B-LOC", "I-LOC"])
    assert str(refused.value) == (
        "method ensemble: the taggers do not know the same tags (B-GPE of label; B-LOC, I-LOC of "
        "label_target); make them the same with `rename` and `ignore`"
    )
    with pytest.raises(JobError, match=r"\(B-LOC of label_target\)"):
        Ensemble(["O"], ["O", "B-LOC"])


def table(rows: list[dict[str, Any]]) -> pa.Table:
    rows = [{"status": "ok", "status_detail": None, **row} for row in rows]
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def test_transfer() -> None:
    label = {"start": 1, "end": 3, "label": "PER", "score": 0.75}
    words = ["na", "Ada", "Byron"]
    rows = [
        {"target_tokens": words, "target_labels": [label]},
        {"target_tokens": ["na"], "target_labels": []},
        {"target_tokens": ["na"], "target_labels": None},
        {"target_tokens": ["na"], "target_labels": None, "status": "too_long"},
    ]
    done = stage.run(Transfer(), table(rows)).to_pylist()
    (entity,) = done[0]["target_entities"]
    others = {"margin": None, "confidence": None, "source_index": None}
    assert entity == label | others
    assert done[0]["ner_tags"] == ["O", "B-PER", "I-PER"]
    assert done[0]["tokens"] == words
    assert (done[1]["ner_tags"], done[1]["target_entities"]) == (["O"], [])
    assert [row["status"] for row in done] == ["ok", "ok", "error", "too_long"]
    assert done[2]["ner_tags"] is done[2]["tokens"] is None
    assert done[2]["status_detail"] == "the row was not labelled by a tagger"


def test_ensemble() -> None:
    def probabilities(values: Any) -> list[list[np.float16]]:
        return [[np.float16(value) for value in word] for word in values]

    def link(source: int, target: int) -> dict[str, Any]:
        return {"source": source, "target": target, "score": 1.0}

    tags = ["I-PER", "O", "B-PER"]
    order = [TAGS.index(tag) for tag in tags]
    both = {
        "target_tokens": ["Ada", "Byron", "na"],
        "source_probs": probabilities(SOURCE),
        "target_probs": probabilities(TARGET[:, order]),
        "links": [link(0, 0), link(1, 1)],
    }
    rows = [both, both | {"links": []}, both | {"source_probs": None}]
    done = stage.run(Ensemble(TAGS, tags), table(rows)).to_pylist()
    for row, links in zip(done, ([(0, 0), (1, 1)], []), strict=False):
        mean = transfer.together(SOURCE, TARGET, pairs(links))
        wanted = to_spans([TAGS[tag] for tag in mean.argmax(axis=1)])
        assert [Span(e["start"], e["end"], e["label"]) for e in row["target_entities"]] == wanted
        assert row["ner_tags"] == to_tags(wanted, 3)
        np.testing.assert_allclose(row["target_probs"], mean[:, order], atol=1e-3)
    (entity,) = done[0]["target_entities"]
    assert (entity["start"], entity["end"]) == (0, 2)
    assert entity["score"] == pytest.approx((0.7 + 0.6) / 2, abs=1e-3)
    assert done[2]["status"] == "error"
