"""How F1 grows with what is learnt from: trainings on shares of gold and of runs, several seeds each.

```
OUTPUT/
  cells/NAME/    an ordinary training; with its figures on the test, `test.json`
  study.json     means and deviations, and the figures of every cell
  study.svg      the same as a plot
```
"""

from __future__ import annotations

import itertools
import json
import statistics
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from projner import pipeline
from projner.config import Label, Section
from projner.errors import JobError
from projner.evaluate import f1, tagging
from projner.train import fit
from projner.train.config import Gold, Training
from projner.train.data import read_gold

Share = Annotated[float, Field(ge=0, le=1)]


class Ratios(Section):
    """What a study varies, each with each."""

    gold: tuple[Share, ...] = ()
    """Shares of the gold sentences to learn from; all of them by default."""
    runs: tuple[Share, ...] = ()
    """Shares of the runs' sentences; all of them by default."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """Each draws other sentences, and trains on them in another order from another head."""
    test: Gold | None = None
    """Gold that no training sees, on which every tagger is scored; `data.ignore` holds for it."""

    @model_validator(mode="before")
    @classmethod
    def _one_needs_no_list(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            shares = ("gold", "runs", "seeds")
            alone = {key: [data[key]] for key in shares if isinstance(data.get(key), int | float)}
            return {**data, **alone}
        return data


class Study(Training):
    """A study file: a training file with a section `study`."""

    study: Ratios

    @model_validator(mode="after")
    def _check_shares(self) -> Study:
        given = {"gold": self.data.gold, "runs": self.data.runs}
        for name, found in given.items():
            if not found and any(getattr(self.study, name)):
                raise ValueError(f"study.{name}: the section `data` has no `{name}`; add some")
        if self.study.test is None and self.dev is None:
            raise ValueError("nothing to score on; give `study.test`, `dev` or both")
        return self


@dataclass(frozen=True)
class Cell:
    """One training of a study."""

    gold: float
    runs: float
    seed: int

    @property
    def name(self) -> str:
        return f"gold-{self.gold:g}-runs-{self.runs:g}-seed-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What came out of a cell: F1 on `dev` and on the test, where there are."""

    cell: Cell
    dev: float | None
    test: float | None
    steps: int
    signature: str


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of a sample; none for one seed) over seeds."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, figures: Sequence[float | None]) -> Spread | None:
        known = [figure for figure in figures if figure is not None]
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


@dataclass(frozen=True)
class Row:
    """All seeds of one pair of shares."""

    gold: float
    runs: float
    seeds: int
    dev: Spread | None
    test: Spread | None


@dataclass(frozen=True)
class Studied:
    """A finished study."""

    folder: Path
    rows: list[Row]
    outcomes: list[Outcome]
    signature: str

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": [
                {
                    **vars(row),
                    "dev": row.dev and vars(row.dev),
                    "test": row.test and vars(row.test),
                }
                for row in self.rows
            ],
            "cells": [{**vars(each), "cell": vars(each.cell)} for each in self.outcomes],
            "signature": self.signature,
        }


def cells(study: Study) -> list[Cell]:
    """The trainings of a study, all shares of one seed before the next seed.

    Where neither gold nor runs nor a teacher is left, there is nothing to learn from, and no cell.
    """
    gold = study.study.gold or (1.0 if study.data.gold else 0.0,)
    runs = study.study.runs or (1.0 if study.data.runs else 0.0,)
    found = [
        Cell(labelled, projected, seed)
        for seed, labelled, projected in itertools.product(study.study.seeds, gold, runs)
        if labelled or projected or study.teachers
    ]
    if not found:
        raise JobError("study: every share is 0; give `gold` or `runs` another")
    return list(dict.fromkeys(found))


def training_of(study: Study, cell: Cell) -> Training:
    """The training of a cell, in its own folder."""
    described = study.model_dump(exclude={"study"}, exclude_unset=True)
    data = dict(described.get("data", {}))
    for name, share in (("gold", cell.gold), ("runs", cell.runs)):
        if share:
            data[f"{name}_share"] = share * getattr(study.data, f"{name}_share")
        else:
            data.pop(name, None)
    output = str(Path(str(study.output)) / "cells" / cell.name)
    return Training.model_validate({**described, "data": data, "seed": cell.seed, "output": output})


def run(study: Study, told: Callable[[str], None] = lambda line: None) -> Studied:
    """Train and score every cell that is not there yet. `told` gets a line for each that is done.

    Raises JobError for what the user can mend, as `fit.fit` does.
    """
    if not study.output:
        raise JobError("the study has no `output`; add one, or give --output DIR")
    test = study.study.test
    sentences = None if test is None else read_gold(test, study.data.ignore)
    todo = cells(study)
    outcomes = []
    with pipeline.session():
        for number, cell in enumerate(todo, 1):
            training = training_of(study, cell)
            fitted = fit.fit(training)
            figure = None
            if test is not None and sentences is not None:
                figure = _tested(training, fitted, test.path, sentences)
            outcome = Outcome(cell, fitted.f1, figure, fitted.steps, fitted.signature)
            outcomes.append(outcome)
            told(f"{number} of {len(todo)}: {_line(outcome)}")
    shares = list(dict.fromkeys((cell.gold, cell.runs) for cell in todo))
    settings = study.study.model_dump(mode="json", exclude={"test"}, exclude_defaults=True)
    varied = ",".join(f"{key}={value}" for key, value in settings.items()).replace(" ", "")
    scored = f"|test:{test.path}#{_digest(sentences or []):08x}" if test else ""
    return Studied(
        Path(study.output),
        [_row(outcomes, *each) for each in sorted(shares)],
        outcomes,
        f"study:{varied}{scored}|first:{outcomes[0].signature}",
    )


def _tested(
    training: Training,
    fitted: fit.Fitted,
    name: str,
    sentences: Sequence[tuple[list[str], list[str]]],
) -> float:
    """F1 of a tagger on the test, as it stands in its folder if it was scored before."""
    path = fitted.model.parent / "test.json"
    key = {"test": _digest(sentences), "signature": fitted.signature}
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if {**stored, **key} == stored:
            return float(stored["f1"])
    tokens, tags = ([*column] for column in zip(*sentences, strict=True))
    gold = f1.Labelled(name, tokens, tags)
    label = Label(
        model=str(fitted.model),
        device=training.device,
        dtype=training.dtype,
        max_tokens=training.max_tokens,
    )
    figure = f1.evaluate(gold, tagging.labels_of(label, gold)).overall.f1
    path.write_text(json.dumps({**key, "f1": figure}), encoding="utf-8")
    return figure


def _digest(sentences: Sequence[tuple[list[str], list[str]]]) -> int:
    return zlib.crc32(json.dumps(list(sentences)).encode())


def _row(outcomes: Sequence[Outcome], gold: float, runs: float) -> Row:
    of_it = [each for each in outcomes if (each.cell.gold, each.cell.runs) == (gold, runs)]
    return Row(
        gold,
        runs,
        len(of_it),
        Spread.of([each.dev for each in of_it]),
        Spread.of([each.test for each in of_it]),
    )


def _line(outcome: Outcome) -> str:
    cell = outcome.cell
    figures = [
        f"F1 {figure:.4f} on {name}"
        for name, figure in (("dev", outcome.dev), ("test", outcome.test))
        if figure is not None
    ]
    return f"gold {cell.gold:g}, runs {cell.runs:g}, seed {cell.seed}: {', '.join(figures)}"
