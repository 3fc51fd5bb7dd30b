"""Methods that look at both sides with models, through real Ray with the demo's toy models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from projner import config, pipeline
from projner.demo.models import Models
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1
from projner.evaluate.f1 import Labelled
from projner.tags import to_spans
from projner.train import teachers
from projner.train.config import Data, Teachers
from projner.train.data import labelled

pytestmark = pytest.mark.usefixtures("ray_session")
ROWS = 40


def gold(language: str) -> Labelled:
    return f1.read_labelled(str(CORPUS / f"test.{language}.conll"), limit=ROWS)


def texts(folder: Path, language: str) -> str:
    path = folder / f"{language}.txt"
    lines = [" ".join(words) + "\n" for words in gold(language).tokens]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def job(folder: Path, models: Models, corpus: dict[str, Any], project: Any) -> config.Job:
    return config.build(
        {
            "corpus": {"source_lang": "eng_Latn", "target_lang": "swh_Latn", **corpus},
            "translate": {"model": str(models.translator)},
            "label": {"model": str(models.tagger)},
            "align": {"engine": "encoder", "model": str(models.encoder), "layer": 2},
            "project": project,
            "output": str(folder / "out"),
        }
    )


def done(
    job: config.Job, beside: Sequence[config.Job] = ()
) -> tuple[pipeline.Result, list[dict[str, Any]]]:
    result = pipeline.project(job, beside=beside)
    return result, result.run.read(result.snapshot).to_pylist()


def figure(rows: list[dict[str, Any]], language: str = "swh") -> float:
    found = Labelled(
        "found", [row["target_tokens"] for row in rows], [row["ner_tags"] for row in rows]
    )
    return f1.evaluate(gold(language), found).overall.f1


FUSED = {"score": {"align": 0.5, "ner_spans": 0.5, "nmt": 1}, "surface": None}


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["bitext", "translate-test"])
def test_every_method_in_either_direction(
    direction: str, tmp_path: Path, demo_models: Models
) -> None:
    corpus: dict[str, Any] = {"format": "text", "target": texts(tmp_path, "swh")}
    if direction == "bitext":
        corpus |= {"format": "bitext", "source": texts(tmp_path, "eng")}
    projects = {
        "fused": FUSED,
        "transfer": {"method": "transfer"},
        "ensemble": {"method": "ensemble"},
    }
    jobs = {name: job(tmp_path, demo_models, corpus, each) for name, each in projects.items()}
    found = {}
    for name, each in jobs.items():
        result, rows = done(each, [other for other in jobs.values() if other is not each])
        assert [row["origin"]["index"] for row in rows] == list(range(ROWS))
        assert {row["status"] for row in rows} == {"ok"}
        found[name] = result, rows, figure(rows)
    # What one of them had the tagger see is there for the others, which compute their last run alone.
    for name in ("transfer", "ensemble"):
        *before, last = (part.computed for part in found[name][0].parts)
        assert (set(before), last) == ({0}, ROWS)
    result, rows, fused = found["fused"]
    assert [*result.seconds][-3:] == ["target_labels+target_probs", "nmt_scores", "project"]
    for row in rows:
        asked = [(each["source_index"], each["start"], each["end"]) for each in row["candidates"]]
        assert len(asked) == len(row["nmt_scores"]) == len(set(asked))
        assert all(score > 0 for score in row["nmt_scores"])
        for entity in row["target_entities"]:
            assert (entity["source_index"], entity["start"], entity["end"]) in asked
    _, rows, transfer = found["transfer"]
    for row in rows:
        seen = [(each["start"], each["end"], each["label"]) for each in row["target_labels"]]
        assert seen == [(e["start"], e["end"], e["label"]) for e in row["target_entities"]]
    # Which class a probability is of, their reader learns from the run.
    for name in ("transfer", "ensemble"):
        result = found[name][0]
        classes = result.run.classes(result.snapshot, "target_probs")
        assert classes is not None
        for row in found[name][1]:
            probs = np.array(row["target_probs"], np.float32)
            second, first = np.sort(probs, axis=1)[:, -2:].T
            if (first - second).min() < 1e-3:
                continue  # Rounded, one may be as likely as the other.
            best = [classes[place] for place in probs.argmax(axis=1)]
            spans = [(e["start"], e["end"], e["label"]) for e in row["target_entities"]]
            assert [tuple(span) for span in to_spans(best)] == spans
    # A training learns from their labels, and from what both of them find probable.
    folders = tuple(str(found[name][0].run.folder) for name in ("transfer", "ensemble"))
    assert labelled(Data(runs=folders)).rows == 2 * ROWS
    taught = teachers.lesson(Teachers(runs=folders, labels="agreed"))
    tags = ("O", *(f"{prefix}-{name}" for name in taught.classes for prefix in "BI"))
    parts = taught.parts(tags, (), tmp_path / "unused")
    told = pa.concat_tables([part.call() for part in parts])
    assert sorted(told["tokens"].to_pylist()) == sorted(row["tokens"] for row in rows)
    for words, probs in zip(told["tokens"].to_pylist(), told["probs"].to_pylist(), strict=True):
        assert np.shape(probs) == (len(words), len(tags))
        np.testing.assert_allclose(np.sum(probs, axis=1), 1, atol=0.01)
    # The toy tagger has read no Swahili; English labels and links help it along.
    assert found["ensemble"][2] > transfer
    assert fused > transfer


@pytest.mark.slow
def test_a_language_may_have_a_method_of_its_own(tmp_path: Path, demo_models: Models) -> None:
    corpus = {
        "format": "conll",
        "source": str(CORPUS / "test.eng.conll"),
        "limit": 20,
        "target_lang": ["swh_Latn", "hau_Latn"],
    }
    project = {"score": "align_gap", "languages": {"hau": {"method": "transfer"}}}
    result, rows = done(job(tmp_path, demo_models, corpus, project))
    assert [*result.seconds] == ["translate+encoder", "target_labels+target_probs", "project"]
    by_language = {
        code: [row for row in rows if row["target_lang"] == code]
        for code in ("swh_Latn", "hau_Latn")
    }
    assert [len(each) for each in by_language.values()] == [20, 20]
    for row in by_language["swh_Latn"]:
        assert row["target_labels"] is row["target_probs"] is None
        assert all(entity["source_index"] is not None for entity in row["target_entities"])
    for row in by_language["hau_Latn"]:
        assert row["target_labels"] is not None
        assert all(entity["source_index"] is None for entity in row["target_entities"])
    assert all(row["ner_tags"] is not None for row in rows if row["status"] == "ok")


@pytest.mark.slow
def test_the_yield_of_filters_and_abstention(tmp_path: Path, demo_models: Models) -> None:
    corpus = {"format": "bitext", "source": str(CORPUS / "test.eng.conll"), "limit": ROWS}
    corpus["target"] = str(CORPUS / "test.swh.conll")
    project = {"min_confidence": 0.9, "filters": ["COMP-SRC", "COMP-INS"]}
    result, rows = done(job(tmp_path, demo_models, corpus, project))
    reasons = [row["status_detail"].split(":")[0] for row in rows if row["status"] == "filtered"]
    counted = {name: reasons.count(name) for name in set(reasons)}
    assert result.snapshot.filtered == counted
    assert result.snapshot.abstained == sum(len(row["abstained"] or []) for row in rows) > 0
    from projner.report import summary

    text = summary.of_result(result)
    assert f"{sum(row['status'] == 'ok' for row in rows) / ROWS:.1%} of rows are ok" in text
    assert f"{result.snapshot.abstained} entities were abstained from" in text
    assert all(f"{name} filtered {count}" in text for name, count in counted.items())
    again, _ = done(job(tmp_path, demo_models, corpus, project))
    assert again.computed == 0
