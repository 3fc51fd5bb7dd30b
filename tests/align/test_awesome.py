"""awesome-align as an engine: what it refuses, and what becomes of odd rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")

from projner import config, stage  # noqa: E402
from projner.align.awesome import AwesomeAligner  # noqa: E402
from projner.align.fine_tune import FineTuned  # noqa: E402
from projner.errors import JobError  # noqa: E402
from tests.align.test_fine_tune import model, table  # noqa: E402, F401


def section(folder: Path, **settings: Any) -> config.AwesomeAlign:
    return config.AwesomeAlign(
        engine="awesome-align", model=str(folder), **{"layer": 2, **settings}
    )


@pytest.fixture
def package() -> None:
    pytest.importorskip("awesome_align", reason="needs the extra projner[awesome-align]")


def test_a_missing_package_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awesome_align", None)
    with pytest.raises(JobError, match=r"pip install 'projner\[awesome-align\]'"):
        AwesomeAligner(config.AwesomeAlign(engine="awesome-align"))


@pytest.mark.usefixtures("package")
def test_odd_rows(model: Path) -> None:  # noqa: F811
    aligner = AwesomeAligner(section(model))
    aligner.setup(1)
    pairs = [
        (["word"] * 300, ["neno"]),
        (["\u200b"], ["neno"]),
        (["|||", "Amina ", "came"], ["Amina", "alikuja"]),
    ]
    rows = table("test", 3)
    for place, name in enumerate(("source_tokens", "target_tokens")):
        column = [pair[place] for pair in pairs]
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), [column])
    done = stage.run(aligner, rows)
    assert done["status"].to_pylist() == ["alignment_failed", "ok", "ok"]
    assert "more than 254 sub-words" in done["status_detail"][0].as_py()
    assert done["links"][1].as_py() == []
    assert all(0 < link["score"] <= 1 for link in done["links"][2].as_py())


@pytest.mark.usefixtures("package")
def test_models_that_do_not_suit_are_refused(model: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(JobError, match=r"has 2 layers; set align.layer to one of 0..2"):
        AwesomeAligner(section(model, layer=3)).setup(1)
    translator = pytest.importorskip("projner.demo.translator")
    translator.train([{"eng_Latn": "a b", "swh_Latn": "b a"}] * 4, tmp_path, steps=1, pieces=30)
    with pytest.raises(JobError, match=r"is a m2m_100, and awesome-align knows BERT alone"):
        AwesomeAligner(section(tmp_path)).setup(1)


@pytest.mark.usefixtures("package")
def test_fine_tuning_serves_the_package_too(model: Path, tmp_path: Path) -> None:  # noqa: F811
    step = FineTuned(AwesomeAligner(section(model)), config.FineTune(steps=3, learning_rate=1e-3))
    step.learn([table("train", 40)], tmp_path)
    before, after = AwesomeAligner(section(model)), step.recall(tmp_path)
    for aligner in (before, after):
        aligner.setup(1)
    rows = table("test", 20)
    assert before(rows)["links"].to_pylist() != after(rows)["links"].to_pylist()
    assert after.counters()["pairs"] == 20
