"""Benchmark suites: published variants as job files, and the figures that they are held against.

`NAME.yaml` beside this file says where a suite's data is and which methods it compares; `published.tsv`
has the figures, `sources.yaml` where they stand.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from projner import languages, storage
from projner.config import JobFile
from projner.errors import JobError

NAMES = ("masakhaner2", "xtreme", "conll")
MEAN = "mean"
"""In the place of a language: the published mean over all languages of the suite."""


@dataclass(frozen=True)
class Published:
    """A figure that somebody else published."""

    suite: str
    method: str
    language: str
    """As the suite calls it, or `MEAN`."""
    f1: float
    source: str
    """A key of `sources`."""


@cache
def published(suite: str) -> tuple[Published, ...]:
    """The published figures of a suite."""
    rows = csv.DictReader(_text("published.tsv").splitlines(), delimiter="\t")
    return tuple(
        Published(row["suite"], row["method"], row["language"], float(row["f1"]), row["source"])
        for row in rows
        if row["suite"] == suite
    )


@cache
def sources() -> dict[str, str]:
    """What the figures' sources are."""
    found: dict[str, str] = yaml.safe_load(_text("sources.yaml"))
    return found


def job_files(
    suite: str,
    output: str,
    langs: Sequence[str] = (),
    data: str | None = None,
    split: str = "test",
    overrides: Sequence[str] = (),
) -> list[JobFile]:
    """The job file of each language of a suite, written as `output`/jobs/LANG.yaml.

    The corpora are files under `data`, as the suite's `local` says, or else are fetched from the
    hub into `output`/data. `langs` go by any of their names; all of the suite's by default. Raises
    JobError for a suite, language or split that there is not.
    """
    template = _template(suite)
    if storage.is_url(output):
        raise JobError(
            f"{output}: a suite's job files go into a folder on disk; give one as --output"
        )
    files = []
    for lang in _languages(suite, template, langs):
        place = _local(template, lang, split, data) or _fetched(template, lang, split, output, data)
        job = dict(template["job"])
        corpus = {"target": str(place), "target_lang": languages.find(lang).code}
        job["corpus"] = {**job["corpus"], **corpus}
        job["evaluate"] = {**job.get("evaluate", {}), "gold": str(place)}
        path = Path(output) / "jobs" / f"{lang}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_dumped(job), encoding="utf-8")
        files.append(JobFile.read(path, overrides))
    return files


def _text(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _template(suite: str) -> dict[str, Any]:
    if suite not in NAMES:
        raise JobError(f"unknown suite {suite!r}; choose one of {', '.join(NAMES)}")
    found: dict[str, Any] = yaml.safe_load(_text(f"{suite}.yaml"))
    return found


def _languages(suite: str, template: dict[str, Any], langs: Sequence[str]) -> list[str]:
    """The suite's names of languages."""
    known = {languages.find(name).code: name for name in template["languages"]}
    found = []
    for lang in langs:
        code = languages.find(lang).code
        if code not in known:
            raise JobError(f"{suite} has no {lang}; choose among {', '.join(known.values())}")
        found.append(known[code])
    return list(dict.fromkeys(found)) or list(known.values())


def _local(template: dict[str, Any], lang: str, split: str, data: str | None) -> Path | None:
    if data is None:
        return None
    names = [pattern.format(lang=lang, split=split) for pattern in template["local"]]
    there = (Path(data).absolute() / name for name in names)
    return next((path for path in there if path.is_file()), None)


def _fetched(
    template: dict[str, Any], lang: str, split: str, output: str, data: str | None
) -> Path:
    """The corpus of a language from the hub, as a CoNLL file; fetched once."""
    path = Path(output).absolute() / "data" / f"{lang}.{split}.conll"
    if path.is_file():
        return path
    names = " or ".join(pattern.format(lang=lang, split=split) for pattern in template["local"])
    here = f"{data}: has no {names}" if data else f"give --data DIR with {names}"
    if lang in template.get("not_on_hub", ()):
        raise JobError(f"{here}; the hub does not have this corpus")
    wanted = {key: value.format(lang=lang) for key, value in template["hub"].items()}
    wanted["split"] = template.get("splits", {}).get(split, split)
    try:
        import datasets
    except ImportError:
        raise JobError(f"{here}; or pip install 'projner[hub]' to fetch it from the hub") from None
    try:
        rows = datasets.load_dataset(**wanted)
    # Whatever the network or the hub may raise.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise JobError(
            f"{here}; from the hub, {wanted['path']} cannot be loaded ({type(error).__name__}: "
            f"{reason})"
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text("".join(map(_sentence, _tagged(rows))), encoding="utf-8")
    part.rename(path)
    return path


def _tagged(rows: Any) -> list[list[tuple[str, str]]]:
    """Words and tags of a data set's rows; tags may be numbers of classes."""
    classes = getattr(getattr(rows.features["ner_tags"], "feature", None), "names", None)
    return [
        [
            (word, classes[tag] if classes else str(tag))
            for word, tag in zip(row["tokens"], row["ner_tags"], strict=True)
        ]
        for row in rows
    ]


def _sentence(words: Sequence[tuple[str, str]]) -> str:
    # A tab parts the columns, for a word may hold a space.
    return "".join(f"{word}\t{tag}\n" for word, tag in words) + "\n"


def _dumped(job: dict[str, Any]) -> str:
    class Plain(yaml.SafeDumper):
        """Without anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(job, Dumper=Plain, sort_keys=False, allow_unicode=True)
