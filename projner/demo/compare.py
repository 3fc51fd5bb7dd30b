"""`projner demo --compare`: every projection method on the demo corpus, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from projner import methods
from projner.config import JobFile
from projner.demo import encoder, models
from projner.demo.write_corpus import CORPUS
from projner.evaluate import compare as comparing
from projner.evaluate import f1
from projner.report import comparison

TARGETS = ("swh", "hau")


def compare(output: str) -> None:
    """Compare all methods on the demo's held-out sentences, with the toy models, and print the table.

    English sentences are labelled and aligned with their Swahili and Hausa translations, and the
    methods' labels held against the corpus's own. Writes the corpus, a job file for each language
    (`projner compare` takes them as they are), the runs and the tables into `output`.
    """
    files = job_files(output, models.models())
    found = comparing.compare(files, output)
    comparison.write(found, output)
    print(comparison.as_text(found))


def job_files(output: str, toys: models.Models) -> list[JobFile]:
    """A job file for each language, with what every method may need."""
    folder = Path(output)
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for name in (*TARGETS, "eng"):
        gold = (CORPUS / f"test.{name}.conll").read_bytes()
        (corpus / f"{name}.conll").write_bytes(gold)
    english = f1.read_labelled(str(corpus / "eng.conll"))
    lines = "".join(" ".join(words) + "\n" for words in english.tokens)
    (corpus / "eng.txt").write_text(lines, encoding="utf-8")
    return [
        JobFile.read(_write(folder / f"{target}.yaml", corpus, target, toys)) for target in TARGETS
    ]


def _write(path: Path, corpus: Path, target: str, toys: models.Models) -> Path:
    labelled = str(corpus / f"{target}.conll")
    job = {
        "corpus": {
            "format": "bitext",
            "source": str(corpus / "eng.txt"),
            "target": labelled,
            "source_lang": models.LANGUAGES["eng"],
            "target_lang": models.LANGUAGES[target],
        },
        "translate": {"model": str(toys.translator)},
        "translate_marked": {"model": str(models.marked_translator())},
        "label": {"model": str(toys.tagger)},
        "align": {"engine": "encoder", "model": str(toys.encoder), "layer": encoder.LAYERS},
        "evaluate": {"gold": labelled},
        "compare": {"methods": _methods(str(corpus / "eng.txt"))},
    }
    path.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    return path


def _methods(text: str) -> dict[str, dict[str, Any] | None]:
    """Every method by name; those that make a target side of their own are given none."""
    source = {"format": "text", "source": text, "target": []}
    changes: dict[str, dict[str, Any] | None] = {}
    for name, project in methods.NAMED.items():
        makes_it = project.method == "marked"
        said = project.model_dump(mode="json", exclude_unset=True)
        changes[name] = {"corpus": source, "project": said} if makes_it else None
    return changes
