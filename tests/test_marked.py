"""The methods that translate with markers, from a job file to rows, with toy models on a real Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from projner import config, pipeline
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1
from projner.tags import to_spans

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

SENTENCES = 32
ENGINES = ("ctranslate2", "transformers")
Row = dict[str, Any]
Gold = list[tuple[list[str], list[tuple[str, str]]]]


@pytest.fixture(scope="module")
def gold() -> dict[str, Gold]:
    """Of each target language, words and entities (text, class) of the sentences."""
    found = {}
    for code in ("swh_Latn", "hau_Latn"):
        sentences = f1.read_labelled(str(CORPUS / f"test.{code[:3]}.conll"))
        found[code] = [
            (tokens, [(" ".join(tokens[s.start : s.end]), s.label) for s in to_spans(tags)])
            for tokens, tags in zip(sentences.tokens, sentences.tags, strict=True)
        ][:SENTENCES]
    return found


def _done(folder: Path, model: Path | str, engine: str, **sections: Any) -> list[Row]:
    corpus = {
        "format": "conll",
        "source": "test.eng.conll",
        "root": str(CORPUS),
        "source_lang": "eng_Latn",
        "target_lang": ["swh_Latn", "hau_Latn"],
        "limit": SENTENCES,
    }
    exact = {"engine": engine, "device": "cpu", "dtype": "float32", "beam_size": 1}
    job = {
        "corpus": {**corpus, **sections.pop("corpus", {})},
        "translate": {"model": str(model), **exact},
        "output": str(folder / "out"),
        **sections,
    }
    result = pipeline.project(config.build(job))
    return result.run.read(result.snapshot).to_pylist()


def _bitext(code: str) -> dict[str, Any]:
    target = {"target": f"test.{code[:3]}.conll", "target_lang": code}
    return {"format": "bitext", **target}


def _entities(row: Row) -> list[tuple[str, str]]:
    return [
        (" ".join(row["tokens"][each["start"] : each["end"]]), each["label"])
        for each in row["target_entities"]
    ]


def _right(rows: list[Row], gold: dict[str, Gold]) -> tuple[int, int]:
    """How many rows are `ok` with the gold words, and how many of them have the gold entities."""
    known, right = 0, 0
    place = dict.fromkeys(gold, 0)
    for row in rows:
        tokens, entities = gold[row["target_lang"]][place[row["target_lang"]]]
        place[row["target_lang"]] += 1
        if row["status"] == "ok" and row["tokens"] == tokens:
            known += 1
            right += _entities(row) == entities
    return known, right


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["brackets", "xml"])
def test_marked_translation(kind, engine, marked_translator, gold, tmp_path) -> None:
    rows = _done(tmp_path, marked_translator, engine, project={"method": "marked", "markers": kind})
    assert len(rows) == 2 * SENTENCES
    assert {row["status"] for row in rows} <= {"ok", "markers_lost"}
    known, right = _right(rows, gold)
    # Toys do not translate much as people do; what they do so is labelled so.
    assert known > SENTENCES / 3
    assert right == known
    for row in rows:
        if row["status"] == "ok":
            assert row["target_text"] == row["marked_text"]
            assert not set("[]<>") & set(row["target_text"])
            assert sorted(e["source_index"] for e in row["target_entities"]) == [
                *range(len(row["source_entities"]))
            ]


@pytest.mark.parametrize("kind", ["brackets", "xml"])
def test_what_a_plain_model_destroys_is_a_status(kind, demo_models, gold, tmp_path) -> None:
    project = {"method": "marked", "markers": kind}
    rows = _done(tmp_path, demo_models.translator, "ctranslate2", project=project)
    assert len(rows) == 2 * SENTENCES
    lost = [row for row in rows if row["source_entities"] and row["status"] != "ok"]
    assert len(lost) > SENTENCES
    assert {row["status"] for row in lost} <= {"markers_lost", "translation_failed"}
    assert all(row["ner_tags"] is None for row in lost)
    known, right = _right(rows, gold)
    assert known == right


@pytest.mark.parametrize("engine", ENGINES)
def test_back_translation(engine, marked_translator, gold, tmp_path) -> None:
    project = {"method": "back_translation", "through": "heuristic"}
    rows = _done(
        tmp_path,
        marked_translator,
        engine,
        project=project,
        corpus=_bitext("hau_Latn"),
        align={"engine": "surface"},
    )
    assert {row["status"] for row in rows} <= {"ok", "markers_lost"}
    assert [row["target_tokens"] for row in rows] == [tokens for tokens, _ in gold["hau_Latn"]]
    known, right = _right(rows, gold)
    assert known > 0.7 * SENTENCES
    assert right > 0.9 * known
    for row in rows:
        if row["status"] == "ok":
            sources = [row["source_entities"][e["source_index"]] for e in row["target_entities"]]
            assert [e["label"] for e in row["target_entities"]] == [e["label"] for e in sources]


@pytest.mark.parametrize(("engine", "kind"), zip(ENGINES, ["brackets", "xml"], strict=True))
def test_codec(kind, engine, marked_translator, gold, tmp_path) -> None:
    rows = _done(
        tmp_path,
        marked_translator,
        engine,
        project={"score": "codec", "markers": kind},
        corpus=_bitext("swh_Latn"),
    )
    assert {row["status"] for row in rows} <= {"ok", "markers_lost"}
    # The text is what was given.
    assert [row["target_tokens"] for row in rows] == [tokens for tokens, _ in gold["swh_Latn"]]
    known, right = _right(rows, gold)
    assert known > 0.7 * SENTENCES
    assert right > 0.75 * known
    for row in rows:
        totals = [0.0] * len(row["source_entities"])
        for each, score in zip(row["candidates"], row["codec_scores"], strict=True):
            totals[each["source_index"]] += score
        assert all(total < 1 + 1e-5 for total in totals)
        # Rather with markers than without.
        assert row["status"] != "ok" or all(total > 0.5 for total in totals)
