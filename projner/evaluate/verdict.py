"""Labels of one or several origins against gold: figures, what they are made of, and differences."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from projner import storage
from projner.config import Label
from projner.errors import JobError
from projner.evaluate import bootstrap, f1
from projner.evaluate import details as detail
from projner.evaluate.bootstrap import Counts, Gain, Interval
from projner.evaluate.details import Details
from projner.evaluate.f1 import Evaluation, Labelled
from projner.evaluate.tagging import Cost
from projner.runs import run as runs


@dataclass(frozen=True)
class Judged:
    """One contender's labels."""

    name: str
    """As it was asked for."""
    evaluation: Evaluation
    interval: Interval
    """Of the overall F1, by the bootstrap."""
    details: Details
    notes: list[str]
    """Classes that only one of model and gold knows."""
    cost: Cost | None
    """Of a model."""

    def as_json(self) -> dict[str, Any]:
        return {
            **self.evaluation.as_json(),
            "interval": vars(self.interval),
            **self.details.as_json(),
            "notes": self.notes,
            "cost": self.cost and vars(self.cost),
        }


@dataclass(frozen=True)
class Verdict:
    """What was asked about, and what it was compared with."""

    main: Judged
    others: list[tuple[Judged, Gain]]
    """With what the F1 of `main` is above theirs."""

    def as_json(self) -> dict[str, Any]:
        return {
            **self.main.as_json(),
            "compared": [
                {"name": other.name, "gain": vars(gain), **other.as_json()}
                for other, gain in self.others
            ],
        }


@dataclass(frozen=True)
class Machine:
    """What models run on, as `config.Label` has it, and how often they are timed."""

    device: str = "auto"
    threads: int | None = None
    repeats: int = 1


def judge(
    gold: Labelled,
    contenders: Sequence[str | Labelled],
    ignore: Collection[str] = (),
    train: Sequence[Labelled] | None = None,
    machine: Machine | None = None,
) -> Verdict:
    """Judge the first contender, and compare it with the others.

    Args:
        gold: the truth.
        contenders: models, by folder or name on the hub, which label the sentences of `gold`; or
            labels of these sentences.
        ignore: classes that count on neither side.
        train: what the contenders learnt from, so that entities seen there are told apart.
        machine: what the models run on.

    Raises JobError for a model that cannot be had, and for labels of other sentences.
    """
    if not gold.tokens:
        raise JobError(f"{gold.name}: no sentence is left; mend --skip and --limit")
    machine = machine or Machine()
    models = [name for name in contenders if isinstance(name, str)]
    knows, labelled = _labelled(models, gold, machine)
    settings = f"|bootstrap:{bootstrap.SAMPLES}"
    settings += f"|train:{','.join(part.name for part in train)}" if train else ""
    known = None if train is None else {name for part in train for name in detail.names(part)}
    truth = replace(gold, tags=f1.without(gold.tags, ignore))
    judged: list[Judged] = []
    counts: list[Counts] = []
    for contender in contenders:
        if isinstance(contender, str):
            name, (predicted, cost) = contender, labelled[contender]
            more = settings + _described(machine)
        else:
            name, predicted, cost, more = contender.name, contender, None, settings
        evaluation = f1.evaluate(gold, predicted, ignore)
        guess = f1.without(predicted.tags, ignore)
        counts.append(bootstrap.counts(truth.tags, guess))
        found = detail.details(truth, guess, known)
        judged.append(
            Judged(
                name,
                replace(evaluation, signature=evaluation.signature + more),
                bootstrap.interval(counts[-1]),
                found,
                _notes(gold.name, name, evaluation, found, knows.get(name)),
                cost,
            )
        )
    gains = [bootstrap.paired(counts[0], other) for other in counts[1:]]
    return Verdict(judged[0], list(zip(judged[1:], gains, strict=True)))


def contender(location: str, language: str | None = None) -> str | Labelled:
    """A run or a file as labels; whatever else there may be is the name of a model."""
    if runs.is_run(location) or storage.at(location).is_file():
        return f1.read_labelled(location, language=language)
    return location


def _labelled(
    models: Sequence[str], gold: Labelled, machine: Machine
) -> tuple[dict[str, set[str]], dict[str, tuple[Labelled, Cost]]]:
    """Of each model the classes that it knows, and its labels and cost."""
    if not models:
        return {}, {}
    from projner.evaluate import tagging

    sections = [Label.model_validate({"model": name, "device": machine.device}) for name in models]
    knows = {section.model: tagging.classes(section) for section in sections}
    timed = tagging.timed(sections, gold, machine.threads, machine.repeats)
    return knows, dict(zip(models, timed, strict=True))


def _notes(
    gold: str, name: str, evaluation: Evaluation, found: Details, knows: set[str] | None
) -> list[str]:
    notes = []
    for label, figures in evaluation.classes.items():
        if knows is not None and label not in knows:
            notes.append(
                f"{name} does not know {label}: all {figures.support} of {gold} count as wrong; "
                f"--ignore {label} leaves them out"
            )
        if not figures.support:
            count = sum(row[label] for row in found.confusion.values())
            notes.append(
                f"{gold} has no {label}: all {count} of {name} count as wrong; "
                f"--ignore {label} leaves them out"
            )
    return notes


def _described(machine: Machine) -> str:
    import torch

    load = f"|load:{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"|device:{machine.device}|threads:{machine.threads or torch.get_num_threads()}"
        f"|repeats:{machine.repeats}{load}"
    )
