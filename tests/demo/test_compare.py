"""The demo's comparison: every method that projner has, with the toy models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from projner import config, methods, pipeline
from projner.config import JobFile
from projner.demo import compare, encoder
from projner.demo.write_corpus import CORPUS
from projner.evaluate import choose, f1
from projner.evaluate import compare as comparing
from projner.evaluate.choose import Choice

if TYPE_CHECKING:
    from projner.demo.models import Models


@pytest.mark.slow
def test_every_method_is_in_the_table(
    ray_session: str, demo_models: Models, tmp_path: Path
) -> None:
    files = compare.job_files(str(tmp_path), demo_models)
    # One language and few sentences; `projner demo --compare` has all.
    small = [JobFile.read(file.path, ["corpus.limit=12"]) for file in files[:1]]
    found = comparing.compare(small, str(tmp_path))
    assert not found.skipped
    outcomes = {outcome.method: outcome for outcome in found.outcomes}
    assert set(outcomes) == set(methods.NAMED)
    without = {name for name, outcome in outcomes.items() if outcome.f1 is None}
    assert without == {"easyproject", "labelpigeon"}
    assert all("text of its own" in str(outcomes[name].reason) for name in without)
    assert (outcomes["default"].f1 or 0) > 0.8
    assert (outcomes["codec"].f1 or 0) > 0.8
    shared = {name for run in found.stretches for name in run.name.split("+") if run.methods[1:]}
    assert {"label", "encoder"} <= shared
    labelled = [run for run in found.stretches if "label" in run.name.split("+")]
    # These have a corpus of their own, and so their own labels.
    assert [run.methods for run in labelled][1:] == [("easyproject", "labelpigeon")]
    assert all(run.computed == 12 for run in found.stretches)


@pytest.mark.slow
def test_languages_are_judged_and_chosen_for_apart(
    ray_session: str, demo_models: Models, tmp_path: Path
) -> None:
    """English labels on machine translations into two languages; gold for one of them."""
    job = {
        "corpus": {
            "format": "conll",
            "source": str(CORPUS / "labelled.eng.conll"),
            "limit": 12,
            "source_lang": "eng",
            "target_lang": ["swh", "hau"],
        },
        "translate": {"model": str(demo_models.translator), "beam_size": 1},
        "align": {"engine": "encoder", "model": str(demo_models.encoder), "layer": encoder.LAYERS},
    }
    path = tmp_path / "both.yaml"

    def compared(**more: object) -> dict[tuple[str, str], comparing.Outcome]:
        path.write_text(yaml.safe_dump(job | more), encoding="utf-8")
        found = comparing.compare([JobFile.read(path)], str(tmp_path / "out"), ["align", "span"])
        assert sum(run.computed for run in found.stretches) in (24 * 3, 0)
        return {(outcome.language, outcome.method): outcome for outcome in found.outcomes}

    first = compared()
    assert [outcome.rows for outcome in first.values()] == [12] * 4
    assert all(outcome.f1 is None and outcome.majority for outcome in first.values())
    made = f1.read_labelled(first["swh_Latn", "span"].run, language="swh_Latn")
    lines = [
        "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
        for words, tags in zip(made.tokens, made.tags, strict=True)
    ]
    (tmp_path / "gold.conll").write_text("\n".join(lines), encoding="utf-8")
    second = compared(evaluate={"gold": {"swh": str(tmp_path / "gold.conll")}})
    assert second["swh_Latn", "span"].f1 == 1
    assert second["hau_Latn", "span"].f1 is None
    assert second["hau_Latn", "span"].agreement.keys() == {"align"}

    chosen = [Choice("both", "swh_Latn", "span", 1.0, "align", 0.5, None, 1)]
    output = str(tmp_path / "out")
    (written,) = choose.write(chosen, [JobFile.read(path)], output, str(tmp_path / "chosen.yaml"))
    result = pipeline.project(config.load(written))
    for language, method in (("swh_Latn", "span"), ("hau_Latn", "align")):
        ours = f1.read_labelled(str(result.run.folder), language=language)
        theirs = f1.read_labelled(second[language, method].run, language=language)
        assert ours.tags == theirs.tags
