"""`projner demo`: the main job on the corpus that comes with projner."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from projner import config, languages, pipeline
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1
from projner.report.table import table

TARGETS = ("swh", "hau")
EXAMPLES = 2


def demo(output: str) -> None:
    """Project the English labels of the demo corpus onto Swahili and Hausa, and say what came out.

    Writes the corpus, a job file for each language, and the runs into `output`.
    """
    folder = Path(output)
    corpus = folder / "corpus"
    shutil.copytree(CORPUS, corpus, dirs_exist_ok=True)
    rows, shards, examples = [], [], []
    with pipeline.session():
        for target in TARGETS:
            path = folder / f"{target}.yaml"
            path.write_text(_job(corpus, target, folder / target), encoding="utf-8")
            result = pipeline.project(config.load(path))
            gold = f1.read_labelled(str(corpus / f"test.{target}.conll"))
            predicted = f1.read_labelled(str(result.run.folder))
            figures = f1.evaluate(gold, predicted).overall
            entities = sum(result.snapshot.entities.values())
            name = languages.find(target).name
            rows.append(
                (
                    name,
                    result.snapshot.rows,
                    entities,
                    figures.precision,
                    figures.recall,
                    figures.f1,
                )
            )
            shards.append(f"  {name}: job file {path}, Parquet {result.run.folder / 'data'}")
            pairs = zip(predicted.tokens, predicted.tags, strict=True)
            shown = [pair for pair in pairs if len(set(pair[1])) > 2][:EXAMPLES]
            examples += ["  " + _bracketed(tokens, tags) for tokens, tags in shown]
    header = ("language", "sentences", "entities", "precision", "recall", "F1")
    print("English labels projected along the word links that come with the demo corpus\n")
    print(table(header, rows))
    print("\n" + "\n".join(examples))
    print("\n" + "\n".join(shards))


def _job(corpus: Path, target: str, output: Path) -> str:
    sections = {
        "corpus": {
            "format": "bitext",
            "source": str(corpus / "test.eng.conll"),
            "target": str(corpus / f"test.{target}.conll"),
            "links": str(corpus / f"test.eng-{target}.pharaoh"),
            "source_lang": "eng_Latn",
            "target_lang": languages.find(target).code,
        },
        "output": str(output),
    }
    return yaml.safe_dump(sections, sort_keys=False)


def _bracketed(tokens: list[str], tags: list[str]) -> str:
    """A sentence with its entities in brackets, each with its class."""
    parts = []
    for position, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        following = tags[position + 1] if position + 1 < len(tags) else "O"
        opening = "[" if tag.startswith("B-") else ""
        ends = tag != "O" and not following.startswith("I-")
        parts.append(f"{opening}{token}{f' {tag[2:]}]' if ends else ''}")
    return " ".join(parts)
