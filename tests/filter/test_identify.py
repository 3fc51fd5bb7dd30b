"""What engines call languages, and what they say of real news."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from projner import config, identify
from projner.errors import JobError
from projner.languages import find

Model = Callable[[Mapping[str, str]], Path]

NLLB = {"swh_Latn", "arb_Arab", "arb_Latn", "ace_Arab", "zho_Hant", "ckb_Arab"}


@pytest.mark.parametrize(
    ("code", "labels", "expected"),
    [
        ("swh_Latn", NLLB, "swh_Latn"),
        ("arb_Latn", NLLB, "arb_Latn"),
        ("ace_Arab", NLLB, "ace_Arab"),
        ("bam_Latn", NLLB, None),
        ("swh_Latn", {"sw", "en"}, "sw"),
        ("yue_Hant", {"yue", "zh"}, "yue"),
        ("zho_Hant", {"zh"}, "zh"),
        ("nob_Latn", {"no", "nn"}, "no"),
        ("arb_Arab", {"ar"}, "ar"),
        ("als_Latn", {"sq"}, "sq"),
        # Written with other letters than those that the code stands for.
        ("arb_Latn", {"ar", "arb"}, None),
        ("ace_Arab", {"ace"}, None),
        ("ckb_Arab", {"ku"}, None),
        ("ckb_Arab", {"ku", "ckb"}, "ckb"),
        ("kmr_Latn", {"ku", "ckb"}, "ku"),
    ],
)
def test_labels(code: str, labels: set[str], expected: str | None) -> None:
    assert identify.label_of(find(code), labels) == expected


def test_a_fasttext_model(fasttext_model: Model) -> None:
    path = fasttext_model({"i": "bam_Latn", "ni": "bam_Latn", "habari": "swh_Latn"})
    chosen = config.FastText(engine="fasttext", model=str(path))
    engine = identify.load(chosen)
    assert engine.labels == {"bam_Latn", "swh_Latn"}
    scores = engine.scores("i\nni")
    assert list(scores) == ["bam_Latn", "swh_Latn"]
    assert scores["bam_Latn"] == pytest.approx(1 / (1 + math.exp(-8)), abs=1e-3)
    assert engine.scores("i habari")["swh_Latn"] == pytest.approx(0.5, abs=1e-3)
    assert engine.scores("zzz") == {}
    before = identify.identity(chosen)
    fasttext_model({"i": "bam_Latn"})
    assert identify.identity(chosen) != before


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file; give a fastText model under filter"), (b"x" * 99, "is no fastText")],
)
def test_no_fasttext_model(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.bin"
    if content:
        path.write_bytes(content)
    with pytest.raises(JobError, match=f"{path}: {message}"):
        identify.load(config.FastText(engine="fasttext", model=str(path)))


@pytest.mark.parametrize(
    ("chosen", "module"),
    [
        (config.Py3langid(min_score=0.123), "py3langid.langid"),
        (config.FastText(engine="fasttext", model="m"), "fasttext"),
    ],
)
def test_an_engine_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, chosen: config.Identify, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(JobError, match=r"needs \S+; pip install 'projner\[langid\]'"):
        identify.load(chosen)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("lafand/en-swa/train.en", "eng_Latn"),
        ("lafand/en-swa/train.swa", "swh_Latn"),
        ("lafand/en-hau/train.hau", "hau_Latn"),
        ("lafand/en-yor/train.yor", "yor_Latn"),
    ],
)
def test_news_is_in_its_language_and_in_no_other(shared_data: Path, file: str, code: str) -> None:
    engine = identify.load(config.Py3langid())
    lines = (shared_data / file).read_text(encoding="utf-8").split("\n")
    scores = [engine.scores(line) for line in lines[:500] if len(line.split()) > 8]
    assert len(scores) > 100
    for other in ("eng_Latn", "swh_Latn", "hau_Latn", "yor_Latn"):
        label = identify.label_of(find(other), engine.labels)
        assert label is not None
        share = sum(score[label] >= 0.5 for score in scores) / len(scores)
        assert share >= 0.9 if other == code else share <= 0.02
