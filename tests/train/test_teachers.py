"""What teachers say together, and what of it a student is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError

from projner import record
from projner.cli import main
from projner.errors import JobError
from projner.runs.run import Run, Wanted
from projner.train import teachers
from projner.train.config import Learned, Teachers

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
SENTENCES = {7: ["Ada", "alikuja"], 3: ["Mvua"], 5: ["Roma", "na", "Nyeri"]}
"""By id, in corpus order."""


def probabilities(seed: int, ids: Sequence[int], width: int) -> dict[int, np.ndarray]:
    chance = np.random.default_rng(seed)
    drawn = {key: chance.random((len(SENTENCES[key]), width)) ** 4 for key in SENTENCES}
    return {key: drawn[key] / drawn[key].sum(axis=1, keepdims=True) for key in ids}


def made(
    folder: Path,
    probs: dict[int, np.ndarray],
    tags: Sequence[str] | None,
    shards: Sequence[Sequence[int]] | None = None,
    status: str = "ok",
) -> str:
    """A run of method transfer, without Ray."""
    run = Run(folder / "runs" / "made")
    run.begin({})
    for ids in shards or [list(probs)][: len(probs)]:
        rows = [
            {
                "id": key,
                "revision": 0,
                "target_lang": "swh_Latn",
                "target_tokens": SENTENCES[key],
                "target_probs": probs[key].astype(np.float16).tolist(),
                "status": status,
                "status_detail": None,
            }
            for key in ids
        ]
        schema = record.schema(list(rows[0]), {"target_probs": [*tags]} if tags else None)
        run.write_shard(pa.Table.from_pylist(rows, schema=schema))
    wanted = Wanted(np.array([*probs]), np.zeros(len(probs), np.int64))
    origins = pa.table({"file": ["f"] * len(probs), "position": [*range(len(probs))]})
    signature = f"schema:{record.SCHEMA_VERSION}|made"
    run.publish(wanted, origins, signature=signature, corpus={})
    return str(folder)


def told(section: dict[str, Any], ignore: Sequence[str] = (), rows: int = 2) -> dict[str, dict]:
    """By text, what a student is told of each sentence."""
    lesson = teachers.lesson(Teachers(**section), ignore, rows=rows)
    labels = ["O", *(f"{prefix}-{name}" for name in lesson.classes for prefix in "BI")]
    tables = [part.call() for part in lesson.parts(labels, ignore, Path("unused"))]
    return {" ".join(row["tokens"]): row for table in tables for row in table.to_pylist()}


def test_teachers_are_averaged_whatever_their_order_of_classes_and_rows(tmp_path: Path):
    other = ("I-PER", "O", "B-PER", "I-LOC", "B-LOC")
    first, second = probabilities(0, [7, 3, 5], 5), probabilities(1, [5, 7], 5)
    runs = [
        made(tmp_path / "a", first, LABELS, [[5], [7, 3]]),
        made(tmp_path / "b", second, other),
    ]
    onto = [other.index(label) for label in LABELS]
    for weights, shares in (("uniform", (0.5, 0.5)), ((1, 3), (0.25, 0.75))):
        found = told({"runs": runs, "weights": weights})
        # A sentence that one of them has not seen is left out.
        assert {*found} == {"Ada alikuja", "Roma na Nyeri"}
        for key in (7, 5):
            row = found[" ".join(SENTENCES[key])]
            expected = shares[0] * first[key] + shares[1] * second[key][:, onto]
            np.testing.assert_allclose(row["probs"], expected, atol=2e-3)
            assert row["tags"] is None
            assert row["weights"] == [1.0] * len(SENTENCES[key])


def test_where_all_agree_the_label_is_certain(tmp_path: Path):
    first = probabilities(0, [7, 3, 5], 5)
    second = {**probabilities(1, [3, 5], 5), 7: (first[7] + 0.1) / 1.5}
    runs = [made(tmp_path / n, p, LABELS) for n, p in (("a", first), ("b", second))]
    found = told({"runs": runs, "labels": "agreed"})
    agreements = 0
    for key, words in SENTENCES.items():
        for word, probs in enumerate(found[" ".join(words)]["probs"]):
            best = first[key][word].argmax(), second[key][word].argmax()
            mean = (first[key][word] + second[key][word]) / 2
            expected = np.eye(5)[best[0]] if best[0] == best[1] else mean
            np.testing.assert_allclose(probs, expected, atol=2e-3)
            agreements += best[0] == best[1]
    assert 2 <= agreements < 6


def test_doubtful_words_do_not_count_and_hard_labels_are_tags(tmp_path: Path):
    probs = {
        7: np.array([[0.1, 0, 0, 0, 0.9], [0.7, 0.3, 0, 0, 0]]),
        3: np.array([[0.6, 0.4, 0, 0, 0]]),
        5: np.array([[0, 0.8, 0.2, 0, 0], [0.9, 0, 0, 0, 0.1], [0.5, 0.1, 0.2, 0.1, 0.1]]),
    }
    run = made(tmp_path, probs, LABELS)
    settings = {"runs": run, "labels": "hard", "min_confidence": 0.65, "weight": 2}
    found = told(settings)
    # Nothing of the one word there is sure.
    assert {*found} == {"Ada alikuja", "Roma na Nyeri"}
    # An entity begins with B, as in what people label.
    assert found["Ada alikuja"]["tags"] == ["B-PER", "O"]
    assert found["Ada alikuja"]["probs"] is None
    assert found["Roma na Nyeri"]["weights"] == [2, 2, 0]
    assert len(told({"runs": run, "share": 0.4})) == 1


def test_ignored_classes_are_o_and_last_words_continue(tmp_path: Path):
    tags = ("S-PER", "B-PER", "E-PER", "I-PER", "O", "B-LOC", "E-LOC")
    onto = teachers.matrix(tags, ("O", "B-PER", "I-PER"), ["LOC"])
    expected = [[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(onto, expected)
    probs = probabilities(0, [7, 3, 5], 7)
    found = told({"runs": made(tmp_path, probs, tags)}, ["LOC"])
    row = found["Ada alikuja"]
    np.testing.assert_allclose(row["probs"], probs[7] @ np.array(expected), atol=2e-3)
    assert teachers.lesson(Teachers(runs=(str(tmp_path),)), ["LOC"]).classes == ("PER",)


@pytest.mark.parametrize(
    ("tags", "ids", "status", "message"),
    [
        (("O", "B-PER", "I-PER"), [7], "ok", "does not know LOC, which other teachers do"),
        (None, [7], "ok", "no label probabilities with names"),
        (LABELS, [3], "ok", "no sentence in common"),
        (LABELS, [7], "error", "no row of its newest snapshot is ok"),
    ],
)
def test_teachers_that_do_not_go_together_are_refused(tags, ids, status, message, tmp_path: Path):
    width = len(tags or LABELS)
    runs = (
        made(tmp_path / "a", probabilities(0, [7, 5], 5), LABELS),
        made(tmp_path / "b", probabilities(0, ids, width), tags, status=status),
    )
    with pytest.raises(JobError, match=message) as said:
        teachers.lesson(Teachers(runs=runs))
    assert "\n" not in str(said.value)


def test_what_the_data_have_teachers_must_know(tmp_path: Path):
    lesson = teachers.lesson(Teachers(runs=(made(tmp_path, probabilities(0, [7], 5), LABELS),)))
    teachers.check(lesson, ["PER"])
    with pytest.raises(JobError, match="does not know DATE, which the data have"):
        teachers.check(lesson, ["PER", "DATE"])


@pytest.mark.parametrize("key", ["data", "teachers"])
def test_a_run_of_no_use_is_one_line_and_nothing_is_written(
    key: str, tmp_path: Path, monkeypatch, capsys
):
    pytest.importorskip("torch", reason="needs the extra projner[models]")
    older = made(tmp_path / "older", probabilities(0, [7], 5), LABELS)
    monkeypatch.setattr(record, "SCHEMA_VERSION", record.SCHEMA_VERSION + 1)
    empty = made(tmp_path / "empty", {}, LABELS)
    for run, message in (
        (older, f"was made with schema:{record.SCHEMA_VERSION - 1}, this projner has"),
        (empty, "no row of its newest snapshot is ok"),
    ):
        training = {"model": "none", key: {"runs": run}, "output": str(tmp_path / "trained")}
        path = tmp_path / "training.yaml"
        path.write_text(yaml.safe_dump(training), encoding="utf-8")
        assert main(["train", str(path)]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert len(told.strip().splitlines()) == 1
        assert not (tmp_path / "trained").exists()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], "has 1 numbers for 2 runs"),
        ([0, 0], "are all 0"),
        ({"model": "m", "texts": ["a"]}, "has 1 texts for 2 runs"),
        ("equal", "'uniform'"),
    ],
)
def test_weights_are_one_for_each_teacher(weights, message):
    with pytest.raises(ValidationError, match=message):
        Teachers(runs=("a", "b"), weights=weights)
    assert Teachers(runs=("a", "b"), weights=(0, 2)).weights == (0, 2)
    texts = Learned(model="m", texts=("a", "b"))
    assert Teachers(runs=("a", "b"), weights=texts).weights == texts
