"""Whole jobs with toy models where less is given than a sentence pair a row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projner import config, pipeline
from projner.demo import encoder
from projner.demo.models import Models
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.mark.slow
def test_documents_are_translated_labelled_and_projected_by_sentence(
    demo_models: Models, tmp_path: Path
) -> None:
    gold = f1.read_labelled(str(CORPUS / "test.swh.conll"))
    texts = [" ".join(words) for words in gold.tokens[:40]]
    # Sentences of one document stand in a row, and one of them has none.
    documents = [("a", " ".join(texts[:25])), ("nothing", ""), ("b", "\n".join(texts[25:]))]
    lines = [json.dumps({"doc_id": name, "target_text": text}) for name, text in documents]
    (tmp_path / "news.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    job = config.build(
        {
            "corpus": {
                "format": "jsonl",
                "path": str(tmp_path / "news.jsonl"),
                "documents": True,
                "source_lang": "eng_Latn",
                "target_lang": "swh_Latn",
            },
            "translate": {"model": str(demo_models.translator)},
            "label": {"model": str(demo_models.tagger)},
            "align": {
                "engine": "encoder",
                "model": str(demo_models.encoder),
                "layer": encoder.LAYERS,
            },
            "output": str(tmp_path / "out"),
        }
    )
    result = pipeline.project(job)
    rows = result.run.read(result.snapshot).to_pylist()
    numbers = [("a", n) for n in range(25)] + [("nothing", 0)] + [("b", n) for n in range(15)]
    assert [(row["doc"]["id"], row["doc"]["sentence"]) for row in rows] == numbers
    empty = rows.pop(25)
    assert (empty["status"], empty["source_text"], empty["ner_tags"]) == ("empty", None, None)
    assert [row["target_text"] for row in rows] == texts
    assert all(row["source_text"] for row in rows)
    tags = [row["ner_tags"] or ["O"] * len(row["target_tokens"]) for row in rows]
    assert f1.score(gold.tags[:40], tags).overall.f1 > 0.6
