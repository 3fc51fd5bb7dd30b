"""What a training learns from: runs and gold files, cut and weighed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from projner.errors import JobError
from projner.train.config import Data
from projner.train.data import labelled
from tests.conftest import PAIRS, conll


@pytest.fixture
def run(pairs_run: str) -> str:
    return pairs_run


def rows(settings: dict, seed: int = 0) -> list[tuple[str, list[str]]]:
    found = labelled(Data(**settings), seed)
    table = pa.concat_tables([part.call() for part in found.parts])
    assert table.num_rows == found.rows
    return [(" ".join(row["tokens"]), row["tags"]) for row in table.to_pylist()]


def gold_of(sentences: list[str], path: Path) -> str:
    path.write_text(conll(sentences), encoding="utf-8")
    return str(path)


def test_a_run_and_its_gold_teach_the_same(run: str, tmp_path: Path):
    gold = gold_of([pair.target for pair in PAIRS], tmp_path / "gold.conll")
    assert sorted(rows({"runs": run})) == sorted(rows({"gold": gold}))
    assert labelled(Data(runs=run)).classes == ("LOC", "ORG", "PER")


def test_the_source_side_of_a_run(run: str, tmp_path: Path):
    gold = gold_of([pair.source for pair in PAIRS], tmp_path / "gold.conll")
    assert sorted(rows({"runs": run, "side": "source"})) == sorted(rows({"gold": gold}))


def test_ignored_classes_are_o_and_no_class(run: str):
    found = labelled(Data(runs=run, ignore=["ORG", "LOC"]))
    assert found.classes == ("PER",)
    tags = {tag for _, line in rows({"runs": run, "ignore": ["ORG", "LOC"]}) for tag in line}
    assert tags == {"O", "B-PER", "I-PER"}


@pytest.mark.parametrize(
    ("negatives", "expected"), [(None, 1), (1, 1), (0.25, 1), (0.2, 0), (0, 0)]
)
def test_sentences_without_entities_are_cut_by_their_ratio(run: str, negatives, expected):
    found = rows({"runs": run} if negatives is None else {"runs": run, "negatives": negatives})
    assert sum(set(tags) == {"O"} for _, tags in found) == expected
    assert sum(set(tags) != {"O"} for _, tags in found) == 4


def test_a_limit_is_drawn_by_the_seed(run: str):
    draws = {str(rows({"runs": run, "limit": 2}, seed)) for seed in range(10)}
    assert len(draws) > 1
    assert len(rows({"runs": run, "limit": 2})) == 2
    assert rows({"runs": run, "limit": 2}, 3) == rows({"runs": run, "limit": 2}, 3)


def test_shares_of_gold_and_of_runs_are_drawn_apart_and_grow_within_each_other(
    run: str, tmp_path: Path
):
    told = [f"[PER Ada] alikuja mara {number} ." for number in range(20)]
    gold = gold_of(told, tmp_path / "gold.conll")
    both = {"runs": run, "gold": gold}
    projected = rows({"runs": run})
    before: list = []
    for share in (0.01, 0.1, 0.5, 1):
        here = rows({**both, "gold_share": share}, 3)
        assert here[: len(PAIRS)] == projected
        assert len(here) == len(PAIRS) + max(1, share * len(told))
        assert {words for words, _ in before} <= {words for words, _ in here}
        before = here
    few = {**both, "runs_share": 0.4}
    assert len(rows(few)) == len(told) + 2
    assert len({str(rows(few, seed)) for seed in range(10)}) > 1
    assert rows(few, 3) == rows(few, 3)


def test_doubtful_sentences_are_left_out_and_entities_weigh_their_confidence(run: str):
    found = labelled(Data(runs=run, weigh=True))
    table = pa.concat_tables([part.call() for part in found.parts])
    weights = {
        (tag == "O", weight)
        for row in table.to_pylist()
        for tag, weight in zip(row["tags"], row["weights"], strict=True)
    }
    assert {weight for outside, weight in weights if outside} == {1.0}
    doubtful = sorted({weight for outside, weight in weights if not outside})
    assert 0 < doubtful[0] < doubtful[-1] <= 1
    assert len(rows({"runs": run, "min_confidence": doubtful[0] + 1e-6})) < len(PAIRS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs": "nowhere"}, "no finished run here"),
        ({"gold": "nowhere.conll"}, "nowhere.conll"),
        ({"runs": "RUN", "languages": "hau_Latn"}, "no labelled sentence to learn from"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(run: str, settings, message):
    if settings.get("runs") == "RUN":
        settings = {**settings, "runs": run}
    with pytest.raises(JobError, match=message) as told:
        labelled(Data(**settings))
    assert "\n" not in str(told.value)


def test_a_run_of_another_schema_version_is_refused(run: str, monkeypatch):
    from projner import record

    monkeypatch.setattr(record, "SCHEMA_VERSION", record.SCHEMA_VERSION + 1)
    with pytest.raises(JobError, match=r"was made with schema:.*run its job again"):
        labelled(Data(runs=run))
