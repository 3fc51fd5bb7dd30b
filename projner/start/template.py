"""`projner init`: a commented job file for the case at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from projner import config, languages, methods
from projner.config import Project
from projner.corpus import conll, files
from projner.corpus import index as corpora
from projner.errors import JobError

Direction = Literal["translate-test", "translate-train", "bitext"]
DIRECTIONS: dict[str, str] = {
    "translate-test": "target text without labels: it is translated, and the labels come back",
    "translate-train": "labelled source text: it is translated, and becomes training data",
    "bitext": "parallel text: labels go from one side to the other",
}
TRANSLATOR = "facebook/nllb-200-distilled-600M"
TAGGER = "FacebookAI/xlm-roberta-large-finetuned-conll03-english"
ENCODER = "google-bert/bert-base-multilingual-cased"


@dataclass(frozen=True)
class Asked:
    """What a job file is wanted for."""

    direction: Direction
    source_lang: str
    target_lang: tuple[str, ...]
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    method: str = "default"
    translator: str | None = None
    tagger: str | None = None
    aligner: str | None = None
    """A model for the encoder, or the name of an engine without one: eflomal, surface."""
    output: str = "projected"


def write(asked: Asked, path: str) -> None:
    """Write the job file; what it holds is a job that could be built.

    Raises JobError when there is a file already, or when what was asked for does not go together.
    """
    content = text(asked, path)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise JobError(f"{path}: is there already; give another name, or remove it") from None
    except OSError as error:
        raise JobError(f"{path}: cannot be written: {error.strerror}") from None


def text(asked: Asked, path: str = "job.yaml") -> str:
    """The job file. Raises JobError when what was asked for does not go together."""
    if os.path.exists(path):
        raise JobError(f"{path}: is there already; give another name, or remove it")
    _refuse(asked)
    corpus = _corpus(asked)
    given = _given(corpus)
    _check_labels(asked, given)
    content = "\n".join([*_head(asked, path), *_sections(asked, corpus, given), ""])
    config.build(yaml.safe_load(content))
    return content


def _refuse(asked: Asked) -> None:
    wanted = {
        "translate-test": ({"target"}, {"source", "links"}),
        "translate-train": ({"source"}, {"target", "links"}),
        "bitext": ({"source", "target"}, set()),
    }[asked.direction]
    for name in sorted(wanted[0]):
        if not getattr(asked, name):
            raise JobError(f"{asked.direction} needs --{name} FILE ({DIRECTIONS[asked.direction]})")
    for name in sorted(wanted[1]):
        if getattr(asked, name):
            raise JobError(f"{asked.direction} takes no --{name}; for both sides, use bitext")
    if asked.method not in methods.NAMED:
        names = ", ".join(methods.NAMED)
        raise JobError(f"unknown method {asked.method!r}; choose one of {names}")
    project = methods.NAMED[asked.method]
    if project.method == "marked" and asked.direction != "translate-train":
        raise JobError(f"method {asked.method} makes a target side, so it needs translate-train")
    if project.method == "back_translation" and asked.direction == "translate-train":
        raise JobError(f"method {asked.method} labels a target side that is there; use bitext")


def _corpus(asked: Asked) -> dict[str, Any]:
    """The section `corpus`, by what the files look like."""
    codes = [languages.find(name).code for name in asked.target_lang]
    langs = {
        "source_lang": languages.find(asked.source_lang).code,
        "target_lang": codes if len(codes) > 1 else codes[0],
    }
    if asked.direction == "bitext":
        sides = {name: _named(getattr(asked, name)) for name in ("source", "target", "links")}
        return {"format": "bitext", **{k: v for k, v in sides.items() if v}, **langs}
    side = "target" if asked.direction == "translate-test" else "source"
    names = getattr(asked, side)
    first = files.expand(names[:1], "", side)[0]
    bare = first.path.removesuffix(".gz").removesuffix(".zst")
    if bare.endswith((".jsonl", ".ndjson", ".parquet")):
        kind = "parquet" if bare.endswith(".parquet") else "jsonl"
        return {"format": kind, "path": _named(names), **langs}
    kind = "conll" if conll.is_conll(first, 0, -1) else "text"
    return {"format": kind, side: _named(names), **langs}


def _named(names: Sequence[str]) -> Any:
    return list(names) if len(names) > 1 else names[0] if names else None


def _given(corpus: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that the corpus has, by its first sentences."""
    section = config.Corpus.model_validate({**corpus, "on_error": "status", "limit": 100})
    return corpora.index(section).columns


def _check_labels(asked: Asked, given: Sequence[str]) -> None:
    side = "target" if asked.direction == "translate-test" else "source"
    if f"{side}_text" not in given and f"{side}_tokens" not in given:
        raise JobError(
            f"--{side}: no field of the records is {side}_text or {side}_tokens; name them so, or "
            "write `corpus.columns` yourself (README.md, A corpus)"
        )


def _head(asked: Asked, path: str) -> Iterator[str]:
    name = Path(path).name
    yield f"# {asked.direction}: {DIRECTIONS[asked.direction]}."
    yield f"#   projner validate {name}    is everything there, and what would be done?"
    yield f"#   projner project {name}     do it; again: only what is new or missing"
    yield "# Every key, with its default: `projner/config.py`."
    yield ""


def _sections(asked: Asked, corpus: Mapping[str, Any], given: Sequence[str]) -> Iterator[str]:
    project = methods.NAMED[asked.method]
    labelled, linked = "source_entities" in given, "links" in given
    yield from _corpus_lines(corpus)
    if asked.direction != "bitext" or _asks_translator(project):
        why = (
            "# Text into the other language. The weights of NLLB-200 are CC-BY-NC-4.0."
            if asked.direction != "bitext"
            else f"# For the method {asked.method}. The weights of NLLB-200 are CC-BY-NC-4.0."
        )
        yield from _section("translate", {"model": asked.translator or TRANSLATOR}, why)
    if not labelled or project.method == "ensemble":
        # The classes of that model, which the data sets of this field have too.
        own = {"model": asked.tagger} if asked.tagger else {"model": TAGGER, "ignore": ["MISC"]}
        why = f"# A tagger of {languages.find(asked.source_lang).name}: any token classification model."
        yield from _section("label", own, why)
    else:
        yield "# The source side has labels, so no `label` section is needed."
        yield ""
    if _asks_tagger(project) and labelled and project.method != "ensemble":
        own = {"model": asked.tagger or TAGGER}
        yield from _section("label_target", own, "# What looks at the target side.")
    if linked:
        yield "# Word links are given, so no `align` section is needed."
        yield ""
    elif project.method not in ("marked", "transfer"):
        yield from _section("align", _aligner(asked), "# Which word is which.")
    said = project.model_dump(mode="json", exclude_unset=True)
    yield f"# How labels go over: the method `{asked.method}`; `projner compare` tries others."
    yield f"project: {_inline(said)}"
    yield "# project: {min_confidence: 0.8}    # keep only what is rather sure"
    yield ""
    yield f"output: {_inline(asked.output)}          # runs go here; projner export makes other formats"


def _corpus_lines(corpus: Mapping[str, Any]) -> Iterator[str]:
    notes = {
        "format": "conll, text, bitext, jsonl, parquet, hub",
        "source": "paths, globs, folders, URLs; .gz and .zst too",
        "target": "paths, globs, folders, URLs; .gz and .zst too",
        "path": "paths, globs, folders, URLs",
        "links": "Pharaoh: 0-0 1-2",
    }
    yield "corpus:"
    for key, value in corpus.items():
        line = f"  {key}: {_inline(value)}"
        yield f"{line:<36} # {notes[key]}" if key in notes else line
    yield "  on_error: status                   # bad lines become rows with a status; `fail` stops"
    yield ""


def _section(name: str, keys: Mapping[str, Any], why: str) -> Iterator[str]:
    yield why
    yield f"{name}:"
    yield from (f"  {key}: {_inline(value)}" for key, value in keys.items())
    yield ""


def _aligner(asked: Asked) -> dict[str, Any]:
    if asked.aligner in ("eflomal", "surface"):
        return {"engine": asked.aligner}
    return {"engine": "encoder", "model": asked.aligner or ENCODER}


def _asks_translator(project: Project) -> bool:
    return project.method == "back_translation" or bool({"nmt", "codec"} & project.weights.keys())


def _asks_tagger(project: Project) -> bool:
    return (
        project.method in ("transfer", "ensemble")
        or project.candidates == "ner"
        or bool({"ner", "ner_spans"} & project.weights.keys())
    )


def _inline(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
