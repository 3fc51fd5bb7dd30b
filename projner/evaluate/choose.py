"""The best method for each language, and the job file that uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from projner import config, storage
from projner.config import JobFile
from projner.errors import JobError
from projner.evaluate import bootstrap
from projner.evaluate import compare as comparing
from projner.evaluate.bootstrap import Counts, Gain
from projner.evaluate.compare import Comparison, Outcome

LEVEL = 0.05
"""Chance of replacing the default for nothing, over all the methods tried on a language."""


@dataclass(frozen=True)
class Choice:
    """The method for one language of one corpus."""

    corpus: str
    language: str
    method: str
    f1: float
    default: str
    default_f1: float
    gain: Gain | None
    """Over the default; None where that is chosen."""
    tried: int
    """How many methods could have replaced the default."""


def best(counts: Mapping[str, Counts], default: str, costs: Mapping[str, float]) -> str:
    """The method to use, of those with `counts` on the same sentences.

    From the cheapest to the dearest (of equally dear ones the best first), a method takes the place
    of what is chosen so far, at first `default`, where its gain is more than luck: by the paired
    bootstrap, with `LEVEL` shared out among the methods (Bonferroni).
    """
    chosen = default
    score = {name: float(bootstrap.f1(of.sum(axis=0))) for name, of in counts.items()}
    others = [name for name in counts if name != default]
    for name in sorted(others, key=lambda name: (costs[name], -score[name])):
        if score[name] > score[chosen]:
            gain = bootstrap.paired(counts[name], counts[chosen])
            if gain.p * len(others) < LEVEL:
                chosen = name
    return chosen


def check(files: Sequence[JobFile]) -> None:
    """Raises JobError where no job has gold to choose by."""
    if all(file.job.evaluate.gold is None for file in files):
        raise JobError(
            "--choose needs gold, since agreement does not tell which method is right; name some under "
            "evaluate.gold"
        )


def choose(comparison: Comparison, default: str = "default") -> list[Choice]:
    """The best method for each language that has gold; `default`, or what was listed first, stays
    unless another is better by more than luck."""
    found = []
    for corpus, language in comparing.languages_of(comparison.outcomes):
        judged = {
            outcome.method: outcome
            for outcome in comparison.outcomes
            if (outcome.corpus, outcome.language) == (corpus, language) and outcome.f1 is not None
        }
        if judged:
            found.append(_choice(corpus, language, judged, default))
    return found


def write(choices: Sequence[Choice], files: Sequence[JobFile], output: str, path: str) -> list[str]:
    """Write the job files with the chosen methods, and return their paths.

    One job file becomes the file `path`; several go into the folder `path`. Languages with a method
    of their own have it under `project.languages`; where a method changes other sections as well,
    and the job has one language, these are changed. Runs go to the job's own `output`, else to where
    the comparison left what is prepared already. Raises JobError where methods that several
    languages are to use differ in more than `project`.
    """
    written = []
    for file in files:
        name = Path(file.path).stem
        place = Path(path) if len(files) == 1 else Path(path) / f"{name}.yaml"
        chosen = [choice for choice in choices if choice.corpus == name]
        data = _job(file, chosen)
        data.setdefault("output", str(storage.at(output) / name))
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_comment(chosen) + text, encoding="utf-8")
        except OSError as error:
            raise JobError(f"{place}: cannot be written: {error.strerror}; name another") from None
        written.append(str(place))
    return written


def _choice(corpus: str, language: str, judged: Mapping[str, Outcome], default: str) -> Choice:
    counts = {
        name: outcome.counts for name, outcome in judged.items() if outcome.counts is not None
    }
    default = default if default in counts else next(iter(counts))
    method = best(counts, default, {name: outcome.models for name, outcome in judged.items()})
    gain = None if method == default else bootstrap.paired(counts[method], counts[default])
    score = {name: outcome.f1 or 0.0 for name, outcome in judged.items()}
    return Choice(
        corpus, language, method, score[method], default, score[default], gain, len(counts) - 1
    )


def _job(file: JobFile, chosen: Sequence[Choice]) -> dict[str, Any]:
    """The sections of a job file with the chosen methods."""
    if not chosen:
        return {name: section for name, section in file.data.items() if name != "compare"}
    known = comparing.methods_of(file, [choice.method for choice in chosen] + [chosen[0].default])
    if len(file.job.corpus.target_lang) == 1:
        data = file.changed_data(known[chosen[0].method], whole=["project"])
    else:
        wide = [c for c in chosen if set(known[c.method]) - {"project"}]
        if wide and len({choice.method for choice in chosen}) > 1:
            raise JobError(
                f"{file.path}: the methods chosen differ in more than `project` ({wide[0].method} has "
                f"{', '.join(sorted(set(known[wide[0].method]) - {'project'}))}); make a job of each "
                "language"
            )
        base = chosen[0].method if wide else chosen[0].default
        data = file.changed_data(known[base], whole=["project"])
        others = {
            choice.language: file.changed_data(known[choice.method], whole=["project"])["project"]
            for choice in chosen
            if choice.method != base
        }
        if others:
            data["project"] = {**data.get("project", {}), "languages": _complete(data, others)}
    data.pop("compare", None)
    config.build(data)
    return data


def _complete(data: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides that also undo what the base section sets and a method leaves at its default."""
    defaults = config.Project().model_dump(mode="json")
    base = data.get("project") or {}
    return {
        language: {**{key: defaults[key] for key in base if key not in section}, **section}
        for language, section in others.items()
    }


def _comment(chosen: Sequence[Choice]) -> str:
    lines = [
        "Written by `projner compare --choose`: the best method for each language by F1 on gold."
    ]
    for choice in chosen:
        what = f"{choice.language}: {choice.method}, F1 {choice.f1:.3f}"
        if choice.gain is None:
            lines.append(
                f"{what}; of {choice.tried} others none was better by more than luck "
                f"(paired bootstrap, p < {LEVEL} / {choice.tried or 1})"
            )
        else:
            gain = choice.gain
            lines.append(
                f"{what}; {choice.default} has {choice.default_f1:.3f}; gain {gain.gain:.3f} "
                f"[{gain.low:.3f}, {gain.high:.3f}], p = {gain.p:.4f} (paired bootstrap, "
                f"needed: {LEVEL} / {choice.tried})"
            )
    return "".join(f"# {line}\n" for line in lines)
