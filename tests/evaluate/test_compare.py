"""Methods side by side: what is done once, and the table that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from projner import config, methods
from projner.errors import JobError
from projner.evaluate import compare
from projner.evaluate.compare import Outcome
from tests.conftest import PAIRS

Bitext = Callable[..., dict[str, Any]]


def test_what_methods_have_in_common_is_done_once(
    ray_session: str, bitext: Bitext, tmp_path: Path
) -> None:
    job = bitext(gold=True)
    del job["corpus"]["links"]
    job |= {"align": {"engine": "surface"}, "evaluate": {"gold": "target.conll", "ignore": ["ORG"]}}
    chosen = {name: methods.named(name) for name in ("default", "span", "heuristic")}
    outcomes = compare.compare({"one": config.build(job)}, chosen, str(tmp_path / "compared"))
    runs = list((tmp_path / "compared" / "one" / "runs").iterdir())
    assert len(runs) == 1 + len(chosen)
    assert [outcome.method for outcome in outcomes] == list(chosen)
    for outcome in outcomes:
        assert outcome.f1 == 1
        assert (outcome.rows, outcome.labelled) == (len(PAIRS), 1)
        assert "ignore:ORG" in outcome.signature
        assert "surface" in outcome.signature
    assert not (tmp_path / "out").exists()


def test_settings_of_the_gold_are_those_of_the_corpus(
    ray_session: str, bitext: Bitext, tmp_path: Path
) -> None:
    job = config.build(bitext(gold=True, skip=2, limit=2) | {"evaluate": {"gold": "target.conll"}})
    (outcome,) = compare.compare({"part": job}, {"span": methods.named("span")}, str(tmp_path))
    assert (outcome.f1, outcome.rows) == (1, 2)


def test_gold_of_other_sentences_is_refused(
    ray_session: str, bitext: Bitext, tmp_path: Path
) -> None:
    job = bitext(gold=True)
    (tmp_path / "corpus" / "gold.conll").write_text("Ada B-PER\n\n", encoding="utf-8")
    built = config.build(job | {"evaluate": {"gold": "gold.conll"}})
    with pytest.raises(
        JobError, match=r"gold.conll has 1 sentences and .* 5; give the gold of these"
    ):
        compare.compare({"one": built}, {"span": methods.named("span")}, str(tmp_path / "compared"))


def test_a_table_has_a_row_for_each_corpus_and_a_column_for_each_method() -> None:
    outcomes = [
        Outcome(job, method, figure, 10, 1.0, 2.0, 0.5, "signature")
        for job, method, figure in [
            ("a", "x", 0.5),
            ("a", "y", 0.6),
            ("b", "x", None),
            ("b", "y", 0.7),
        ]
    ]
    header, rows = compare.grid(outcomes)
    assert header == ["corpus", "x", "y"]
    assert rows == [["a", 0.5, 0.6], ["b", None, 0.7]]
    assert compare.grid(outcomes, "rows")[1] == [["a", 10, 10], ["b", 10, 10]]
