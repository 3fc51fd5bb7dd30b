from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from projner import stage
from projner.config import Translate
from projner.errors import JobError
from projner.translate import Translator
from projner.translate.engine import Translation
from projner.words import words

SWAHILI, ENGLISH = "swh_Latn", "eng_Latn"


def _table(texts: list[str | None], language=SWAHILI, other=ENGLISH, side="target") -> pa.Table:
    """Texts of a side, in one language or in one each; `other` is the other side's."""
    count = len(texts)
    away = {"source": "target", "target": "source"}[side]
    return pa.table(
        {
            f"{side}_lang": [language] * count if isinstance(language, str) else language,
            f"{away}_lang": [other] * count if isinstance(other, str) else other,
            f"{side}_text": pa.array(texts, pa.string()),
            "status": pa.array(["ok"] * count),
            "status_detail": pa.nulls(count, pa.string()),
        }
    )


def _translator(model: str, from_side="target", languages=(), **settings) -> Translator:
    exact = {"device": "cpu", "dtype": "float32", "beam_size": 1}
    translator = Translator(
        Translate(model=model, **{**exact, **settings}), from_side, languages=languages
    )
    translator.setup(1)
    return translator


class Scripted:
    """An engine that says what it was told to say; a word is a sub-word."""

    limit = 30

    def __init__(self, answers: dict[str, Translation]) -> None:
        self.answers = answers

    def knows(self, language) -> bool:
        return language.code != "bam_Latn"

    def lengths(self, texts) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], int)

    def begin(self, texts, sources, targets):
        made = [self.answers.get(text, Translation(text.upper(), None)) for text in texts]
        return lambda: made


def _scripted(monkeypatch, answers=None, **settings) -> Translator:
    monkeypatch.setattr("projner.translate.stage.load", lambda *_: Scripted(answers or {}))
    return _translator("m", **settings)


@pytest.mark.parametrize("side", ["source", "target"])
def test_either_side_is_translated(side: str, nllb: str, parallel: list[dict[str, str]]) -> None:
    language, other = (ENGLISH, SWAHILI) if side == "source" else (SWAHILI, ENGLISH)
    away = {"source": "target", "target": "source"}[side]
    sentences = parallel[:60]
    table = _table([sentence[language] for sentence in sentences], language, other, side)
    made = stage.run(_translator(nllb, side), table)
    texts = made[f"{away}_text"].to_pylist()
    right = [text == sentence[other] for text, sentence in zip(texts, sentences, strict=True)]
    assert np.mean(right) > 0.9
    assert made[f"{away}_tokens"].to_pylist() == [words(text, other) for text in texts]
    assert set(made["status"].to_pylist()) == {"ok"}
    assert made.select(table.column_names).equals(table)


def test_rows_of_several_languages_keep_their_order(nllb: str, parallel) -> None:
    codes = [(SWAHILI, ENGLISH), (ENGLISH, SWAHILI), (ENGLISH, ENGLISH), (SWAHILI, SWAHILI)] * 15
    texts = [s[source] for s, (source, _) in zip(parallel, codes, strict=False)]
    table = _table(texts, *([code[n] for code in codes] for n in (0, 1)))
    translator = _translator(nllb)
    whole = translator(table)["source_text"].to_pylist()
    alone = [translator(table.slice(n, 1))["source_text"][0].as_py() for n in range(len(texts))]
    assert whole == alone
    known = [s[target] for s, (_, target) in zip(parallel, codes, strict=False)]
    crossing = [n for n, (source, target) in enumerate(codes) if source != target]
    assert np.mean([whole[n] == known[n] for n in crossing]) > 0.9


def test_long_texts_are_split_and_joined(nllb: str, parallel) -> None:
    sentences = [sentence[SWAHILI] for sentence in parallel[:8]]
    translator = _translator(nllb)
    alone = translator(_table(sentences))["source_text"].to_pylist()
    # The rule takes the other sentences of a text to begin with a capital.
    joined = translator(_table([" ".join(sentences)]))
    assert joined["source_text"].to_pylist() == [" ".join(alone)]
    assert joined["source_tokens"].to_pylist() == [words(" ".join(alone), ENGLISH)]
    assert joined["status"].to_pylist() == ["ok"]
    whole = _translator(nllb, split_over=None)(_table([" ".join(sentences)]))
    assert whole["source_text"].to_pylist() != [" ".join(alone)]


def test_sentences_are_joined_as_the_language_writes_them(monkeypatch) -> None:
    text = "one two three four . Five six seven eight ."
    other = ["zho_Hans", "jpn_Jpan", "tha_Thai", "eng_Latn"]
    translator = _scripted(monkeypatch, split_over=8)
    made = translator(_table([text] * 4, other=other))["source_text"].to_pylist()
    parts = "ONE TWO THREE FOUR .", "FIVE SIX SEVEN EIGHT ."
    assert made == ["".join(parts)] * 2 + [" ".join(parts)] * 2


def test_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Translation("A A A", "the translation repeats itself")
    answers = {
        "good": Translation("Good .", None),
        "loop": bad,
        "none": Translation("", "the translation is empty"),
        "invisible": Translation("\u200b", None),
        "Seven eight nine .": bad,
    }
    long = " ".join(["word"] * 31)
    texts = ["good", "loop", "none", "invisible", "", None, " \n", long, "bambara", "to bambara"]
    texts += ["One two three four five six . Seven eight nine .", f"We all go . W{long} ."]
    source = [ENGLISH] * 9 + ["bam_Latn"] + [ENGLISH] * 2
    target = [SWAHILI] * 8 + ["bam_Latn"] + [SWAHILI] * 3
    table = _table(texts, target, source)
    made = _scripted(monkeypatch, answers, split_over=8)(table)
    failed, unknown = "translation_failed", "the model does not know bam_Latn"
    expected = [
        ("ok", None, "Good ."),
        (failed, "the translation repeats itself", "A A A"),
        (failed, "the translation is empty", ""),
        (failed, "the translation has no words", "\u200b"),
        *[("empty", "there is nothing to translate", None)] * 3,
        ("too_long", "a sentence of 31 sub-words; the model reads 30", None),
        (failed, unknown, None),
        (failed, unknown, None),
        (
            failed,
            "the translation repeats itself (in one of 2 sentences)",
            "ONE TWO THREE FOUR FIVE SIX . A A A",
        ),
        ("too_long", "a sentence of 32 sub-words; the model reads 30", None),
    ]
    columns = ("status", "status_detail", "source_text")
    assert [*zip(*(made[name].to_pylist() for name in columns), strict=True)] == expected
    assert made["source_tokens"].to_pylist()[:5] == [["Good", "."], ["A"] * 3, [], [], None]
    assert made["target_text"].to_pylist() == texts


def test_a_real_model_fails_row_by_row(nllb: str, parallel) -> None:
    good = parallel[0][SWAHILI]
    texts = [good, "", " ".join(["Nairobi"] * 300), good]
    made = stage.run(_translator(nllb), _table(texts, [SWAHILI, SWAHILI, SWAHILI, "bam_Latn"]))
    assert made["status"].to_pylist() == ["ok", "empty", "too_long", "translation_failed"]
    assert made["source_text"].to_pylist()[0] == parallel[0][ENGLISH]
    short = _translator(nllb, min_length_ratio=5)(_table([good]))
    assert short["status"].to_pylist() == ["translation_failed"]
    assert "sub-words for" in short["status_detail"].to_pylist()[0]
    assert short["source_text"].to_pylist() == [parallel[0][ENGLISH]]


def test_languages_are_checked_when_it_is_set_up(nllb: str) -> None:
    _translator(nllb, languages=[SWAHILI, ENGLISH])
    with pytest.raises(JobError, match="does not know bam_Latn; choose a model that does"):
        _translator(nllb, languages=[SWAHILI, "bam_Latn"])


def test_counters_count(nllb: str, parallel) -> None:
    texts = [sentence[SWAHILI] for sentence in parallel[:50]]
    translator = _translator(nllb)
    for _ in range(2):
        translator(_table(texts))
    counted = translator.counters()
    framed = int(translator._engine.lengths(texts).sum()) + 2 * 50
    assert counted["sentences"] == 100
    assert counted["tokens"] == 2 * framed
    assert 0 < counted["padding"] < framed
    assert counted["seconds"] > 0


def test_settings_are_what_decides_results(nllb: str) -> None:
    def settings(from_side="target", **changes) -> str:
        config = Translate(model=nllb, **{"device": "cpu", **changes})
        return json.dumps(Translator(config, from_side).settings(), sort_keys=True)

    usual = settings()
    assert usual == settings(batch_tokens=7) == settings(dtype="int8")
    assert "auto" not in usual
    changes = [
        {"dtype": "float32"},
        {"beam_size": 1},
        {"engine": "transformers"},
        {"split_over": None},
        {"from_side": "source"},
        {"max_length_ratio": 2},
    ]
    assert len({usual, *(settings(**change) for change in changes)}) == len(changes) + 1


def test_a_stage_can_be_sent_elsewhere(nllb: str, parallel) -> None:
    config = Translate(model=nllb, device="cpu", dtype="float32")
    sent = pickle.loads(pickle.dumps(Translator(config, "target")))
    sent.fetch()
    sent.setup(1)
    assert sent(_table([parallel[0][SWAHILI]]))["status"].to_pylist() == ["ok"]
