"""What a training says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from projner.report import summary
from projner.train.fit import Fitted

ROW = {"step": 8.0, "epoch": 1.0, "loss": 0.25, "f1": 0.5, "words_per_second": 99.7}


def fitted(f1: float | None, *rows: dict[str, float]) -> Fitted:
    return Fitted(Path("out/model"), "train:seed=0", 8, f1, [*rows])


@pytest.mark.parametrize(
    ("made", "columns", "last"),
    [
        (fitted(0.5, ROW), ["step", "epoch", "loss", "F1", "words/s"], "8 1.000 0.250 0.500 100"),
        (fitted(None, ROW), ["step", "epoch", "loss", "F1", "words/s"], "8 1.000 0.250 100"),
        (
            fitted(0.5, {"round": 0.0, **ROW}, {"round": 1.0, **ROW}),
            ["round", "step", "epoch", "loss", "F1", "words/s"],
            "1 8 1.000 0.250 0.500 100",
        ),
        (
            fitted(0.5, {**ROW, "upos_loss": 1.5}),
            ["step", "epoch", "loss", "F1", "words/s", "upos", "loss"],
            "8 1.000 0.250 0.500 100 1.500",
        ),
    ],
)
def test_a_row_for_every_evaluation(made: Fitted, columns: list[str], last: str) -> None:
    header, _, *rows, _, tagger, signature = summary.of_training(made).splitlines()
    assert header.split() == columns
    assert rows[-1].split() == last.split()
    assert "out/model" in tagger
    assert ("F1 0.5000" in tagger) == (made.f1 is not None)
    assert signature == "signature train:seed=0"
