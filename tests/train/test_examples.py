"""Examples beside what the tokenizer of `transformers` makes of the same words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from projner.train import examples
from projner.train.data import SCHEMA
from projner.train.examples import Reading

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SENTENCES = [
    (["Wangari", "Maathai", "alizaliwa", "Nyeri", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"]),
    (["Mvua", "ilinyesha", "sana"], ["O", "O", "O"]),
    (["Ada"] * 40, ["B-PER"] * 40),
]


@pytest.fixture(scope="module")
def model(demo_models) -> Path:
    return demo_models.tagger


def table(rows: list[dict]) -> pa.Table:
    empty = {"weights": None, "probs": None}
    return pa.Table.from_pylist([{**empty, **row} for row in rows], schema=SCHEMA)


def encode(model: Path, rows: list[dict], limit: int = 100) -> list[dict]:
    reading = Reading(str(model), None, limit, LABELS)
    return examples.encode(table(rows), reading, reading.tokenizer()).to_pylist()


def rows_of(sentences) -> list[dict]:
    return [{"tokens": tokens, "tags": tags} for tokens, tags in sentences]


def test_sentences_are_as_the_tokenizer_has_them(model: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    for row, (tokens, tags) in zip(
        encode(model, rows_of(SENTENCES[:2])), SENTENCES[:2], strict=True
    ):
        expected = tokenizer(tokens, is_split_into_words=True)
        word_ids = expected.word_ids()
        firsts = [word_ids.index(word) for word in range(len(tokens))]
        assert row["ids"] == expected["input_ids"]
        assert row["words"] == firsts
        assert [LABELS[label] for label in row["labels"]] == tags
        assert row["weights"] == [1.0] * len(tokens)
        assert row["probs"] is None


def test_every_word_of_a_long_sentence_is_answered_for_once_within_the_limit(model: Path):
    windows = encode(model, rows_of(SENTENCES[2:]), limit=12)
    assert len(windows) > 1
    assert sum(len(window["words"]) for window in windows) == 40
    assert all(len(window["ids"]) <= 12 + 2 for window in windows)
    reading = Reading(str(model), None, 12, LABELS)
    first = reading.tokenizer()(["Ada"], is_split_into_words=True)["input_ids"][1]
    for window in windows:
        assert {window["ids"][place] for place in window["words"]} == {first}


def test_a_word_that_no_sub_word_stands_for_is_left_out(demo_models):
    rows = [{"tokens": ["Ada", "\u200b", "alikuja"], "tags": ["B-PER", "I-PER", "O"]}]
    (row,) = encode(demo_models.encoder, rows)
    assert [LABELS[label] for label in row["labels"]] == ["B-PER", "O"]


def test_weights_and_probabilities_stay_with_their_words(model: Path):
    rng = np.random.default_rng(0)
    rows, expected = [], []
    for tokens, _ in SENTENCES:
        probs = rng.random((len(tokens), len(LABELS))).astype(np.float16)
        weights = rng.random(len(tokens)).astype(np.float32)
        expected.append((weights, probs))
        rows.append(
            {"tokens": tokens, "tags": None, "weights": weights.tolist(), "probs": probs.tolist()}
        )
    rows.append({"tokens": ["Ada"], "tags": ["B-PER"]})
    made = encode(model, rows, limit=12)
    (without,) = (row for row in made if row["probs"] is None)
    assert [LABELS[label] for label in without["labels"]] == ["B-PER"]
    soft = [row for row in made if row["probs"] is not None]
    weights = np.concatenate([row["weights"] for row in soft])
    probs = np.concatenate([np.reshape(row["probs"], (-1, len(LABELS))) for row in soft])
    # Split sentences come last; a weight tells which word it is.
    given_weights, given_probs = map(np.concatenate, zip(*expected, strict=True))
    np.testing.assert_array_equal(np.sort(weights), np.sort(given_weights))
    np.testing.assert_array_equal(
        probs[np.argsort(weights)], given_probs[np.argsort(given_weights)]
    )
