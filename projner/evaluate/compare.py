"""Several methods on the same corpora, side by side; what they have in common is done once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import columns, config, methods, pipeline, progress, record, storage
from projner.config import JobFile
from projner.corpus import index as corpora
from projner.errors import JobError
from projner.evaluate import agreement, bootstrap, f1
from projner.evaluate.bootstrap import Counts
from projner.evaluate.f1 import Evaluation, Labelled
from projner.storage import Place

NAME = "compare.json"
"""What a comparison leaves in its output folder, beside tables made from it."""

_COLUMNS = (
    "target_lang",
    "target_tokens",
    "ner_tags",
    "source_entities",
    "target_entities",
    "status",
)


@dataclass(frozen=True)
class Outcome:
    """One method on the rows of one target language of one corpus."""

    corpus: str
    language: str
    """FLORES-200 code."""
    method: str
    precision: float | None
    """Against the gold, as recall and f1 are, where there is some."""
    recall: float | None
    f1: float | None
    reason: str | None
    """Why there are no figures although there is gold."""
    agreement: dict[str, float]
    """Exact-span F1 against each other method on the same text, where there is no gold."""
    majority: float | None
    """The same against the spans that more than half of these methods have."""
    rows: int
    labelled: float
    """Share of rows that came out `ok`."""
    projected: float | None
    """Share of source entities that have a place in the target sentence; none where a method does
    not look at them."""
    entities_per_row: float
    seconds: float
    """What the stages of this method alone took, over all actors and languages; see `Stretch`."""
    models: int
    """Stages with a model that a job with this method alone runs: what it costs."""
    run: str
    signature: str
    single: bool = True
    """Whether the corpus has no other target language."""
    counts: Counts | None = field(default=None, repr=False, compare=False)
    """By sentence, where there are figures: what a bootstrap draws from."""


@dataclass(frozen=True)
class Stretch:
    """One run of a comparison, and which methods read what it made."""

    corpus: str
    name: str
    fingerprint: str
    methods: tuple[str, ...]
    computed: int
    """Rows that this comparison computed; 0 where they were there already."""
    seconds: float
    """What its stages took for all rows, over all actors, whenever that was."""


@dataclass(frozen=True)
class Skipped:
    """A method that a job cannot run."""

    corpus: str
    method: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Everything that was found."""

    outcomes: list[Outcome]
    skipped: list[Skipped]
    stretches: list[Stretch]
    gold: bool
    """Whether any corpus has gold."""

    def as_json(self) -> dict[str, Any]:
        return {
            "outcomes": [
                {
                    name: value
                    for name, value in vars(outcome).items()
                    if name not in ("counts", "single")
                }
                for outcome in self.outcomes
            ],
            "skipped": [asdict(item) for item in self.skipped],
            "runs": [asdict(stretch) for stretch in self.stretches],
        }


def methods_of(file: JobFile, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The methods to compare on a job file, by name: the changes that each makes to it.

    Without `names`, those of its section `compare`, else all that projner has. Raises JobError for
    a name that neither has.
    """
    own = file.job.compare.methods
    chosen: dict[str, dict[str, Any]] = {}
    for name in names or own or methods.NAMED:
        changes = own.get(name)
        if changes is None:
            known = [*own, *methods.NAMED]
            if name not in methods.NAMED:
                raise JobError(f"unknown method {name!r}; choose one of {', '.join(known)}")
            project = methods.NAMED[name].model_dump(mode="json", exclude_unset=True)
            changes = {"project": project}
        chosen[name] = changes
    return chosen


def job_of(file: JobFile, name: str, changes: Mapping[str, Any]) -> config.Job:
    """The job that runs one method of `methods_of`. A method says all of `project`."""
    return file.changed(changes, f"{file.path}: compare.methods.{name}", whole=["project"])


def compare(files: Sequence[JobFile], output: str, names: Sequence[str] = ()) -> Comparison:
    """Run methods on the jobs of some files under `output`, each file's in a folder of its name.

    Whatever several methods of a job need is computed once: translations, labels, links, scores.
    A method that a job cannot run, since it names no model for it, is `skipped`, unless it was
    asked for by `names`. Gold is read, and every method planned, before the first
    run. Writes `compare.json` into `output`. Raises JobError as `pipeline.project` does.
    """
    folder = storage.at(output)
    by_name = {Path(file.path).stem: file for file in files}
    if len(by_name) < len(files):
        raise JobError("two job files have the same name, and so their runs would; rename one")
    plans = {name: _plan(file, names) for name, file in by_name.items()}
    golds = {name: gold_of(file.job) for name, file in by_name.items()}
    outcomes: list[Outcome] = []
    stretches: list[Stretch] = []
    with pipeline.session():
        for corpus, plan in plans.items():
            done = _run(plan, by_name[corpus].job.corpus, folder / corpus)
            found = _stretches(corpus, done)
            stretches += found
            outcomes += _outcomes(corpus, plan, done, found, golds[corpus], by_name[corpus].job)
    skipped = [
        Skipped(corpus, method, reason)
        for corpus, plan in plans.items()
        for method, reason in plan.skipped.items()
    ]
    comparison = Comparison(outcomes, skipped, stretches, any(golds.values()))
    text = json.dumps(comparison.as_json(), indent=1, ensure_ascii=False)
    (folder / NAME).write(f"{text}\n".encode())
    return comparison


def languages_of(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Corpus and language of outcomes, in order, each once."""
    return list(dict.fromkeys((outcome.corpus, outcome.language) for outcome in outcomes))


@dataclass(frozen=True)
class _Plan:
    jobs: dict[str, config.Job]
    skipped: dict[str, str]
    indices: dict[str, corpora.Index]
    """What is in the corpus of each job."""
    models: dict[str, int]
    """How many stages of each job hold a model."""


def _plan(file: JobFile, names: Sequence[str]) -> _Plan:
    jobs: dict[str, config.Job] = {}
    skipped: dict[str, str] = {}
    indices: dict[str, corpora.Index] = {}
    models: dict[str, int] = {}
    by_corpus: dict[str, corpora.Index] = {}
    for name, changes in methods_of(file, names).items():
        job = job_of(file, name, changes)
        key = job.corpus.model_dump_json()
        if key not in by_corpus:
            by_corpus[key] = pipeline.index_of(job)
        index = by_corpus[key]
        try:
            chain = methods.chain(job, index.columns, index.partial)
        except JobError as error:
            if names:
                raise
            skipped[name] = str(error)
        else:
            jobs[name], indices[name] = job, index
            models[name] = sum(bool(step.room) for segment in chain for step in segment.stages)
    if not jobs:
        name, reason = next(iter(skipped.items()))
        raise JobError(f"{file.path}: no method can run: {name}: {reason}")
    return _Plan(jobs, skipped, indices, models)


def _run(plan: _Plan, corpus: config.Corpus, folder: Place) -> dict[str, pipeline.Result]:
    done = {}
    # Runs of another corpus have a folder of their own, named after its first method.
    places = {corpus.model_dump_json(): folder}
    for number, (name, job) in enumerate(plan.jobs.items(), 1):
        progress.current().job(f"{folder.name}: {name} ({number} of {len(plan.jobs)})")
        beside = [other for other in plan.jobs.values() if other.corpus == job.corpus]
        place = places.setdefault(job.corpus.model_dump_json(), folder / name)
        there = job.model_copy(update={"output": str(place)})
        done[name] = pipeline.project(there, known=plan.indices[name], beside=beside)
    return done


def _stretches(corpus: str, done: Mapping[str, pipeline.Result]) -> list[Stretch]:
    readers: dict[str, list[str]] = {}
    ran: dict[str, pipeline.Part] = {}
    for name, result in done.items():
        for part in result.parts:
            readers.setdefault(part.fingerprint, []).append(name)
            if part.computed or part.fingerprint not in ran:
                ran[part.fingerprint] = part
    return [
        Stretch(
            corpus,
            part.name,
            fingerprint,
            tuple(readers[fingerprint]),
            part.computed,
            sum(part.stages.values()),
        )
        for fingerprint, part in ran.items()
    ]


def gold_of(job: config.Job) -> dict[str, Labelled]:
    """Gold by language, where the job names some. Raises JobError for what cannot be read."""
    given, languages = job.evaluate.gold, job.corpus.target_lang
    if given is None:
        return {}
    if isinstance(given, str):
        if len(languages) > 1:
            raise JobError(
                "evaluate.gold: is one file for several target languages; give the file of each, as "
                f"{{{languages[0]}: {given}}}"
            )
        given = {languages[0]: given}
    if strange := set(given) - set(languages):
        raise JobError(
            f"evaluate.gold: {', '.join(sorted(strange))} is no target language of the corpus "
            f"({', '.join(languages)}); mend it"
        )
    root, skip, limit = job.corpus.root, job.corpus.skip, job.corpus.limit
    places = {
        language: path if storage.is_url(path) else os.path.join(root, path)
        for language, path in given.items()
    }
    return {language: f1.read_labelled(place, skip, limit) for language, place in places.items()}


def _outcomes(
    corpus: str,
    plan: _Plan,
    done: Mapping[str, pipeline.Result],
    stretches: Sequence[Stretch],
    golds: Mapping[str, Labelled],
    job: config.Job,
) -> Iterator[Outcome]:
    tables = {name: result.run.read(result.snapshot, _COLUMNS) for name, result in done.items()}
    seconds = {
        name: sum(stretch.seconds for stretch in stretches if stretch.methods == (name,))
        for name in done
    }
    for language in job.corpus.target_lang:
        parts = {
            name: table.filter(pc.field("target_lang") == language)
            for name, table in tables.items()
        }
        gold = golds.get(language)
        judged = _judged(gold, parts, done, job) if gold else {}
        agreed = {} if gold else _agreed(parts)
        for name, part in parts.items():
            verdict = judged.get(name)
            evaluation = verdict if isinstance(verdict, Evaluation) else None
            overall = evaluation and evaluation.overall
            others, majority = agreed.get(name, ({}, None))
            yield Outcome(
                corpus=corpus,
                language=language,
                method=name,
                precision=overall.precision if overall else None,
                recall=overall.recall if overall else None,
                f1=overall.f1 if overall else None,
                reason=verdict if isinstance(verdict, str) else None,
                agreement=others,
                majority=majority,
                rows=part.num_rows,
                labelled=_share(pc.equal(part["status"], record.Status.OK.value)),
                projected=_projected(part),
                entities_per_row=_items(part["target_entities"]) / max(part.num_rows, 1),
                seconds=seconds[name],
                models=plan.models[name],
                run=str(done[name].run.folder),
                signature=evaluation.signature if evaluation else done[name].snapshot.signature,
                single=len(job.corpus.target_lang) == 1,
                counts=_counts(gold, part, job) if gold and evaluation else None,
            )


def _judged(
    gold: Labelled,
    parts: Mapping[str, pa.Table],
    done: Mapping[str, pipeline.Result],
    job: config.Job,
) -> dict[str, Evaluation | str]:
    """Figures of each method, or why it has none. Raises JobError where none has any."""
    found: dict[str, Evaluation | str] = {}
    for name, part in parts.items():
        snapshot, run = done[name].snapshot, done[name].run
        cited = f"{run.fingerprint}@{snapshot.number}[{snapshot.signature}]"
        predicted = f1.of_rows(cited, part)
        try:
            found[name] = f1.evaluate(gold, predicted, job.evaluate.ignore)
        except JobError as error:
            found[name] = str(error)
    if all(isinstance(verdict, str) for verdict in found.values()):
        raise JobError(str(next(iter(found.values()))))
    own = "its labels are on a text of its own, which the gold does not label"
    return {name: own if isinstance(verdict, str) else verdict for name, verdict in found.items()}


def _agreed(parts: Mapping[str, pa.Table]) -> dict[str, tuple[dict[str, float], float | None]]:
    """Of each method that labels the text that most do: agreement with the others, and with most."""
    texts: list[pa.ChunkedArray] = []
    number: dict[str, int] = {}
    for name, part in parts.items():
        text = part["target_tokens"]
        for known, other in enumerate(texts):
            if text.equals(other):
                number[name] = known
                break
        else:
            number[name] = len(texts)
            texts.append(text)
    sizes = [list(number.values()).count(text) for text in range(len(texts))]
    names = [name for name in parts if number[name] == int(np.argmax(sizes))]
    if len(names) < 2:
        return {}
    classes: dict[str, int] = {}
    spans = [_spans(parts[name], classes) for name in names]
    pairs, most = agreement.pairwise(spans), agreement.with_majority(spans)
    return {
        name: (
            {other: float(pairs[a, b]) for b, other in enumerate(names) if b != a},
            float(most[a]),
        )
        for a, name in enumerate(names)
    }


def _spans(part: pa.Table, classes: dict[str, int]) -> agreement.Spans:
    """The spans of the rows that carry tags; `classes` numbers their labels, and learns new ones."""
    entities = pc.if_else(part["ner_tags"].is_valid(), part["target_entities"], None)
    found = columns.lists(entities, ["start", "end", "label"])
    labels = [classes.setdefault(label, len(classes)) for label in found.fields["label"]]
    rows = np.repeat(np.arange(part.num_rows), np.diff(found.offsets))
    fields = [rows, found.fields["start"], found.fields["end"], np.array(labels, np.int64)]
    return np.stack(fields, axis=1).astype(np.int64)


def _counts(gold: Labelled, part: pa.Table, job: config.Job) -> Counts:
    ignore = job.evaluate.ignore
    predicted = f1.of_rows("", part)
    return bootstrap.counts(f1.without(gold.tags, ignore), f1.without(predicted.tags, ignore))


def _projected(part: pa.Table) -> float | None:
    given = _items(part["source_entities"])
    placed = columns.lists(part["target_entities"], ["source_index"])
    index = np.asarray(placed.fields["source_index"], np.float64)
    if not given or (len(index) and np.isnan(index).all()):
        return None
    rows = np.repeat(np.arange(part.num_rows), np.diff(placed.offsets))[index >= 0]
    distinct = np.unique(np.stack([rows, index[index >= 0]]), axis=1)
    return float(distinct.shape[1] / given)


def _items(column: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.list_value_length(column)).as_py() or 0)


def _share(flags: pa.ChunkedArray) -> float:
    return float(pc.mean(pc.cast(flags, pa.int8())).as_py() or 0)
