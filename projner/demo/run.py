"""`projner demo`: the whole chain in its three directions, with toy models on the corpus that comes
with projner."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import yaml

from projner import checkpoints, config, languages, pipeline, record, stage
from projner.demo import encoder, models, tagger
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1
from projner.evaluate.f1 import Labelled
from projner.label import Labeller
from projner.pipeline import Result
from projner.report import page
from projner.report.table import table
from projner.tags import Span, to_tags

TARGETS = ("swh", "hau")
EXAMPLES = 2

ABOUT = """\
The models are toys: tiny networks in the formats of NLLB-200, XLM-R and BERT, trained in seconds on 600 \
sentences
of the demo's own corpus. They know its words and no others, so the figures say that every part works, \
not
how well it works on text of the world."""


class Direction(NamedTuple):
    """What a corpus gives and what becomes of it."""

    name: str
    given: str
    job: str
    """The job file."""
    result: Result


def demo(output: str) -> None:
    """Run translate-test, translate-train and bitext over English with Swahili and Hausa.

    Prints what came out, and at last each direction's F1 against the corpus's own labels, on
    sentences that no model was trained on. Writes the corpus, a job file for each job, the runs, and
    the first of them as a page into `output`.
    """
    folder = Path(output)
    if not models.location().is_dir():
        _say("training the toy models; they are kept, so that happens once")
    toys = models.models()
    corpus = folder / "corpus"
    _write(corpus)
    with pipeline.session():
        done = [_done(*job, folder) for job in _jobs(corpus, toys)]
        _say("training a toy tagger on what translate-train made")
        (made,) = (each.result for each in done if each.name == "translate-train")
        learnt = _trained(made, folder / "tagger")
    looked_at, seen = TARGETS[0], str(folder / "report.html")
    page.write(str(done[0].result.run.folder), seen, str(CORPUS / f"test.{looked_at}.conll"))
    print("\n".join(_report(done, {each: _gold(each) for each in TARGETS}, learnt, seen)))


def _say(text: str) -> None:
    print(f"projner: {text}", file=sys.stderr)


def _gold(language: str) -> Labelled:
    return f1.read_labelled(str(CORPUS / f"test.{language}.conll"))


def _write(corpus: Path) -> None:
    """The corpus as a user has it: held-out sentences as bare text, labelled ones in CoNLL."""
    corpus.mkdir(parents=True, exist_ok=True)
    for language in models.LANGUAGES:
        lines = "".join(" ".join(words) + "\n" for words in _gold(language).tokens)
        (corpus / f"{language}.txt").write_text(lines, encoding="utf-8")
    (corpus / "eng.conll").write_bytes((CORPUS / "labelled.eng.conll").read_bytes())


def _jobs(corpus: Path, toys: models.Models) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Of each job: its direction, what it is given, its name, and its job file."""
    align = {"engine": "encoder", "model": str(toys.encoder), "layer": encoder.LAYERS}
    whole = {
        "translate": {"model": str(toys.translator)},
        "label": {"model": str(toys.tagger)},
        "align": align,
    }
    codes = models.LANGUAGES
    for target in TARGETS:
        name = "translate-test"
        given = {"format": "text", "target": str(corpus / f"{target}.txt")}
        into = {"source_lang": codes["eng"], "target_lang": codes[target]}
        yield name, "target text", f"{name}-{target}", {"corpus": given | into, **whole}
    name = "translate-train"
    given = {"format": "conll", "source": str(corpus / "eng.conll")}
    both = {"source_lang": codes["eng"], "target_lang": [codes[target] for target in TARGETS]}
    without = {key: whole[key] for key in ("translate", "align")}
    yield name, "labelled source", name, {"corpus": given | both, **without}
    for target in TARGETS:
        name = "bitext"
        given = {
            "format": "bitext",
            "source": str(corpus / "eng.txt"),
            "target": str(corpus / f"{target}.txt"),
        }
        into = {"source_lang": codes["eng"], "target_lang": codes[target]}
        without = {key: whole[key] for key in ("label", "align")}
        yield name, "parallel text", f"{name}-{target}", {"corpus": given | into, **without}


def _done(direction: str, given: str, name: str, job: dict[str, Any], folder: Path) -> Direction:
    path = folder / f"{name}.yaml"
    sections = {**job, "output": str(folder / name)}
    path.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    began = time.perf_counter()
    result = pipeline.project(config.load(path))
    _say(f"{name}: {result.snapshot.rows} sentences in {time.perf_counter() - began:.0f} s")
    return Direction(direction, given, str(path), result)


def _trained(made: Result, folder: Path) -> dict[str, Labelled]:
    """The held-out sentences of each language, labelled by a toy tagger that learnt from `made`."""
    rows = made.run.read(made.snapshot, ["tokens", "ner_tags"])
    rows = rows.filter(rows["ner_tags"].is_valid())
    checkpoints.library().utils.logging.disable_progress_bar()
    tagger.train(rows["tokens"].to_pylist(), rows["ner_tags"].to_pylist(), folder)
    labeller = Labeller(config.Label(model=str(folder)), "target")
    labeller.setup(1)
    found = {}
    for target in TARGETS:
        tokens = _gold(target).tokens
        columns = {
            "target_tokens": pa.array(tokens, record.type_of("target_tokens")),
            "status": pa.repeat(record.Status.OK.value, len(tokens)),
            "status_detail": pa.nulls(len(tokens), pa.string()),
        }
        column = stage.run(labeller, pa.table(columns))["target_labels"].to_pylist()
        spans = [[Span(e["start"], e["end"], e["label"]) for e in entities] for entities in column]
        tags = [to_tags(each, len(words)) for each, words in zip(spans, tokens, strict=True)]
        found[target] = Labelled("a tagger trained on what was made", tokens, tags)
    return found


def _report(
    done: list[Direction], gold: dict[str, Labelled], learnt: dict[str, Labelled], seen: str
) -> Iterator[str]:
    made, figures, examples, places = [], [], [], []
    for name, given, job, result in done:
        table_of = result.run.read(result.snapshot, ["target_lang", "status", "target_entities"])
        for target in TARGETS:
            code = models.LANGUAGES[target]
            rows = [row for row in table_of.to_pylist() if row["target_lang"] == code]
            if not rows:
                continue
            language = languages.find(target).name
            entities = sum(len(row["target_entities"] or ()) for row in rows)
            ok = sum(row["status"] == "ok" for row in rows)
            made.append((name, given, language, len(rows), ok, entities))
            labels, by = learnt[target], "tagger trained on it"
            if name != "translate-train":
                labels, by = f1.read_labelled(str(result.run.folder)), "labels that came out"
            scored = f1.evaluate(gold[target], labels).overall
            parts = (scored.precision, scored.recall, scored.f1)
            figures.append((name, language, by, len(labels.tokens), *parts))
            examples += [f"  {name}: {text}" for text in _shown(result, code)]
        places.append(f"  {job}: Parquet in {result.run.folder / 'data'}")
    yield table(("direction", "given", "language", "sentences", "ok", "entities"), made)
    yield ""
    yield from examples
    yield ""
    yield from places
    yield f"  {seen}: the first of these as a page, wrong labels first"
    yield ""
    yield ABOUT
    yield ""
    yield "Against the corpus's own labels, on sentences that no model has seen:\n"
    header = ("direction", "language", "scored", "sentences", "precision", "recall", "F1")
    yield table(header, figures)


def _shown(result: Result, language: str) -> list[str]:
    """Some sentences with their entities."""
    labelled = f1.read_labelled(str(result.run.folder), language=language)
    pairs = zip(labelled.tokens, labelled.tags, strict=True)
    return [_bracketed(*pair) for pair in pairs if len(set(pair[1])) > 2][:EXAMPLES]


def _bracketed(tokens: list[str], tags: list[str]) -> str:
    """A sentence with its entities in brackets, each with its class."""
    parts = []
    for position, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
        following = tags[position + 1] if position + 1 < len(tags) else "O"
        opening = "[" if tag.startswith("B-") else ""
        ends = tag != "O" and not following.startswith("I-")
        parts.append(f"{opening}{token}{f' {tag[2:]}]' if ends else ''}")
    return " ".join(parts)
