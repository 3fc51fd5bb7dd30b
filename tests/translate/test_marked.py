from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from projner import record, stage
from projner.config import Translate
from projner.project.marked import Marked
from projner.translate.engine import Translation
from projner.translate.marked import MarkedTranslator
from tests.conftest import labelled

ENGLISH, SWAHILI = "eng_Latn", "swh_Latn"


class Scripted:
    """An engine that says what it was told to say, and capitals for the rest; a word is a sub-word."""

    limit = 30

    def __init__(self, answers: dict[str, Translation | str]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def knows(self, language) -> bool:
        return language.code != "bam_Latn"

    def lengths(self, texts) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], int)

    def begin(self, texts, sources, targets):
        self.asked += texts
        made = [self.answers.get(text, text.upper()) for text in texts]
        made = [Translation(each, None) if isinstance(each, str) else each for each in made]
        return lambda: made


def _table(sentences: list[str | None], target: str | list[str] = SWAHILI) -> pa.Table:
    """Sentences like `[PER Ada] met Eva`, in English; None for one that nobody labelled."""
    rows = []
    targets = [target] * len(sentences) if isinstance(target, str) else target
    for sentence, language in zip(sentences, targets, strict=True):
        tokens, spans = labelled(sentence or "Ada met Eva")
        entities = [{**span._asdict(), "score": 1.0} for span in spans]
        rows.append(
            {
                "source_text": " ".join(tokens),
                "source_tokens": tokens,
                "source_entities": None if sentence is None else entities,
                "source_lang": ENGLISH,
                "target_lang": language,
                "status": "ok",
                "status_detail": None,
            }
        )
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def _run(
    monkeypatch, kind: str, answers, sentences, **settings
) -> tuple[list[dict], Scripted, dict]:
    engine = Scripted(answers)
    monkeypatch.setattr("projner.translate.stage.load", lambda *_: engine)
    engine.padding = type("", (), {"tokens": 0, "padding": 0})
    translator = MarkedTranslator(Translate(model="m", device="cpu"), kind)
    translator.setup(1)
    table = stage.run(translator, _table(sentences, **settings))
    return stage.run(Marked(), table).to_pylist(), engine, dict(translator.counters())


def _spelled(row: dict, column: str) -> list[tuple[str, str]]:
    tokens = row["marked_tokens"]
    return [
        (" ".join(tokens[entity["start"] : entity["end"]]), entity["label"])
        for entity in row[column] or []
    ]


def test_tags_tell_the_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "<a>Ada Byron</a> met <b>Eva</b> in <c>Rome</c> .": (
            "Huko <c>Roma</c> , <a>Ada Byron</a> alikutana na <b>Eva</b>."
        ),
        "It rained .": "Mvua [ilinyesha] <a> .",
    }
    sentences = ["[PER Ada Byron] met [PER Eva] in [LOC Rome] .", "It rained ."]
    (row, plain), engine, counted = _run(monkeypatch, "xml", answers, sentences)
    assert row["target_text"] == "Huko Roma , Ada Byron alikutana na Eva."
    assert row["tokens"] == row["target_tokens"] == row["target_text"].replace(".", " .").split()
    assert row["ner_tags"] == ["O", "B-LOC", "O", "B-PER", "I-PER", "O", "O", "B-PER", "O"]
    # In the order of the source, then in reading order.
    assert _spelled(row, "marked_entities") == [
        ("Ada Byron", "PER"),
        ("Eva", "PER"),
        ("Roma", "LOC"),
    ]
    assert _spelled(row, "target_entities") == [
        ("Roma", "LOC"),
        ("Ada Byron", "PER"),
        ("Eva", "PER"),
    ]
    assert [entity["source_index"] for entity in row["target_entities"]] == [2, 0, 1]
    assert [entity["score"] for entity in row["target_entities"]] == [1, 1, 1]
    # Without entities there is nothing to mark, and nothing to take away.
    assert plain["target_text"] == "Mvua [ilinyesha] <a> ."
    assert set(plain["ner_tags"]) == {"O"}
    assert (plain["status"], plain["target_entities"]) == ("ok", [])
    assert len(engine.asked) == 2
    assert (counted["entities"], counted["lost"]) == (3, 0)


def test_brackets_are_told_apart_by_each_entitys_translation(monkeypatch) -> None:
    answers = {
        "[ Egypt ] beat [ Ada ] .": "[ Ada ] alishindwa na [ Misri ] .",
        "Egypt": "Misri",
        "Ada": "Ade",
    }
    (row,), engine, _ = _run(monkeypatch, "brackets", answers, ["[LOC Egypt] beat [PER Ada] ."])
    assert row["target_text"] == "Ada alishindwa na Misri ."
    assert row["ner_tags"] == ["B-PER", "O", "O", "B-LOC", "O"]
    assert [entity["source_index"] for entity in row["target_entities"]] == [1, 0]
    # Ada is her own best form.
    assert [entity["score"] for entity in row["target_entities"]] == [1, 1]
    assert sorted(engine.asked[1:]) == ["Ada", "Egypt"]


def test_each_entitys_translation_is_asked_for_once(monkeypatch) -> None:
    sentences = ["[PER Ada] left .", "[PER Ada] met [PER Eva] .", "Ada left [ORG Ada]"]
    rows, engine, _ = _run(monkeypatch, "brackets", {}, sentences)
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert sorted(engine.asked[3:]) == ["Ada", "Eva"]


@pytest.mark.parametrize(
    ("kind", "answer", "kept"),
    [
        ("xml", "Ada alikutana na <b>Eva</b> .", [("Eva", "LOC")]),
        ("xml", "<a>Ada alikutana</b> na Eva</a> .", []),
        ("xml", "<a>Ada</a> alikutana na <b></b> Eva .", [("Ada", "PER")]),
        ("xml", "a Ada a alikutana na b Eva b", []),
        ("brackets", "[ Ada ] alikutana na Eva .", []),
        ("brackets", "[ Ada alikutana na Eva ] .", []),
        ("brackets", "[ Ada ] alikutana na [ Eva ] [ sana ] .", []),
        ("brackets", "[ Ada ] alikutana na Eva [ . ]", [("Ada", "PER")]),
        ("brackets", "[ Ada ] [ alikutana ] na Eva .", [("Ada", "PER")]),
        ("brackets", "[ Ada ] na [ Ada ] .", []),
    ],
)
def test_what_is_destroyed_is_a_status_and_never_a_span(monkeypatch, kind, answer, kept) -> None:
    asked = {"xml": "<a>Ada</a> met <b>Eva</b> .", "brackets": "[ Ada ] met [ Eva ] ."}[kind]
    (row,), _, counted = _run(monkeypatch, kind, {asked: answer}, ["[PER Ada] met [LOC Eva] ."])
    assert row["status"] == "markers_lost"
    assert row["status_detail"] == f"{len(kept)} of 2 entities came back between their markers"
    assert _spelled(row, "marked_entities") == kept
    assert (row["ner_tags"], row["target_entities"]) == (None, None)
    assert not set("[]<>") & set(row["marked_text"])
    assert (counted["entities"], counted["lost"]) == (2, 2 - len(kept))


def test_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "[ Loop ]": Translation("[ A ] A A", "the translation repeats itself"),
        "[ Nothing ]": "[ ]",
        "[ Name , ]": "[ Name , ]",
    }
    long = " ".join(["word"] * 31)
    sentences = [
        "[PER Loop]",
        "[PER Nothing]",
        f"[PER Ada] {long}",
        None,
        "[PER Ada]",
        "[PER Name ,]",
    ]
    targets = [SWAHILI] * 4 + ["bam_Latn", SWAHILI]
    rows, _, _ = _run(monkeypatch, "brackets", answers, sentences, target=targets)
    failed = "translation_failed"
    assert [(row["status"], row["status_detail"], row["marked_text"]) for row in rows] == [
        (failed, "the translation repeats itself", "A A A"),
        (failed, "the translation has no words", ""),
        ("too_long", "a sentence of 34 sub-words; the model reads 30", None),
        ("error", "the row has no labels on its source side", None),
        (failed, "the model does not know bam_Latn", None),
        ("ok", None, "Name ,"),
    ]
    assert all(row["ner_tags"] is None for row in rows[:-1])


def test_punctuation_that_got_between_markers_is_left_out(monkeypatch) -> None:
    answers = {"<a>Ada</a> left": "Alisema , <a>Ada ,</a> kisha"}
    (row,), _, _ = _run(monkeypatch, "xml", answers, ["[PER Ada] left"])
    assert row["tokens"] == ["Alisema", ",", "Ada", ",", "kisha"]
    assert row["ner_tags"] == ["O", "O", "B-PER", "O", "O"]


def test_markers_are_settings() -> None:
    config = Translate(model="m", device="cpu", dtype="float32")
    one, other = (MarkedTranslator(config, kind).settings() for kind in ("brackets", "xml"))
    assert one != other
    assert {**one, "markers": ""} == {**other, "markers": ""}
