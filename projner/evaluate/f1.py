"""Exact-span precision, recall and F1 (strict IOB2, by seqeval), and where the labels come from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import projner
from projner import storage
from projner import tags as tag_schemes
from projner.errors import JobError
from projner.runs import run as runs


@dataclass(frozen=True)
class Figures:
    """Precision, recall and F1 in [0, 1]; `support` counts gold entities."""

    precision: float
    recall: float
    f1: float
    support: int

    @classmethod
    def of(cls, right: int, predicted: int, gold: int) -> Figures:
        """From counts of entities; a share of nothing is 0."""
        return cls(
            right / max(predicted, 1),
            right / max(gold, 1),
            2 * right / max(predicted + gold, 1),
            gold,
        )


@dataclass(frozen=True)
class Evaluation:
    """Micro-averaged figures over all classes, and those of each class."""

    overall: Figures
    classes: dict[str, Figures]
    signature: str

    def as_json(self) -> dict[str, Any]:
        return {
            "overall": vars(self.overall),
            "classes": {label: vars(figures) for label, figures in self.classes.items()},
            "signature": self.signature,
        }


@dataclass(frozen=True)
class Labelled:
    """Sentences with IOB2 tags, and the name under which they are cited."""

    name: str
    tokens: list[list[str]]
    tags: list[list[str]]


def score(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], signature: str = ""
) -> Evaluation:
    """Compare two lists of IOB2 tag sequences of equal lengths.

    A span counts when its start, end and class are right (seqeval, strict mode).
    """
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    entities = {tag[2:] for sentence in [*gold, *predicted] for tag in sentence if tag != "O"}
    if not entities:
        return Evaluation(Figures(0.0, 0.0, 0.0, 0), {}, signature)
    settings: dict[str, Any] = {"scheme": IOB2, "zero_division": 0}
    per_class = precision_recall_fscore_support(gold, predicted, average=None, **settings)
    p, r, f, _ = precision_recall_fscore_support(gold, predicted, average="micro", **settings)
    classes = {
        label: Figures(float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(sorted(entities), *per_class, strict=True)
    }
    support = int(np.sum(per_class[3]))
    return Evaluation(Figures(float(p), float(r), float(f), support), classes, signature)


def evaluate(gold: Labelled, predicted: Labelled, ignore: Collection[str] = ()) -> Evaluation:
    """Score `predicted` against `gold`, sentence by sentence, without the classes in `ignore`.

    Raises JobError when the two are not about the same sentences.
    """
    if len(gold.tokens) != len(predicted.tokens):
        raise JobError(
            f"{gold.name} has {len(gold.tokens)} sentences and {predicted.name} "
            f"{len(predicted.tokens)}; give the gold of these sentences (--skip and --limit cut it)"
        )
    for number, (ours, theirs) in enumerate(zip(gold.tokens, predicted.tokens, strict=True), 1):
        if ours != theirs:
            raise JobError(
                f"sentence {number} differs: {gold.name} has {_preview(ours)}, {predicted.name} has "
                f"{_preview(theirs)}; give gold on the same tokens"
            )
    signature = "|".join(
        [
            f"f1:seqeval-strict-iob2|gold:{gold.name}|predicted:{predicted.name}",
            f"sentences:{len(gold.tokens)}|ignore:{','.join(sorted(ignore)) or '-'}",
            f"projner:{projner.__version__}",
        ]
    )
    return score(without(gold.tags, ignore), without(predicted.tags, ignore), signature)


def without(tags: list[list[str]], ignore: Collection[str]) -> list[list[str]]:
    """Tag sequences without some classes."""
    return [["O" if tag[2:] in ignore else tag for tag in sentence] for sentence in tags]


def of_rows(name: str, table: pa.Table) -> Labelled:
    """The labels in `target_tokens` and `ner_tags` of a run's rows; none where there are no tags."""
    rows = zip(table["target_tokens"].to_pylist(), table["ner_tags"].to_pylist(), strict=True)
    pairs = [(tokens or [], tags or ["O"] * len(tokens or [])) for tokens, tags in rows]
    return Labelled(name, [tokens for tokens, _ in pairs], [tags for _, tags in pairs])


def read_labelled(
    location: str,
    skip: int = 0,
    limit: int | None = None,
    language: str | None = None,
    token_column: int = 0,
    tag_column: int | None = None,
) -> Labelled:
    """Labels from a CoNLL file (tags repaired to IOB2) or from the newest snapshot of a run.

    A row of a run without labels counts as one without entities. `language` (FLORES-200) chooses
    among a run's target languages; the columns are a file's, as `conll.sentences` takes them.
    Raises JobError.
    """
    if runs.is_run(location):
        name, pairs = _run_rows(location, language)
    else:
        if not storage.at(location).is_file():
            what = "holds no run" if storage.at(location).is_folder() else "no such file"
            raise JobError(f"{location}: {what}; give a CoNLL file, or the folder of a run")
        name = Path(location).name
        pairs = _file_rows(location, token_column, tag_column)
    chosen = list(pairs)[skip : None if limit is None else skip + limit]
    return Labelled(name, [tokens for tokens, _ in chosen], [tags for _, tags in chosen])


def _run_rows(
    location: str, language: str | None
) -> tuple[str, Iterable[tuple[list[str], list[str]]]]:
    run = runs.find(location)
    snapshot = run.latest()
    if snapshot is None:
        raise JobError(f"{location}: the run has no snapshot yet; run its job to the end")
    table = run.read(snapshot, ["target_lang", "target_tokens", "ner_tags"])
    languages = sorted(set(table["target_lang"].to_pylist()))
    if language is None and len(languages) > 1:
        raise JobError(f"{location}: holds {', '.join(languages)}; choose one with --lang")
    if language is not None:
        if language not in languages:
            raise JobError(f"{location}: has no {language}, only {', '.join(languages)}")
        import pyarrow.compute as pc

        table = table.filter(pc.field("target_lang") == language)
    labelled = of_rows(f"{run.fingerprint}@{snapshot.number}[{snapshot.signature}]", table)
    return labelled.name, zip(labelled.tokens, labelled.tags, strict=True)


def _file_rows(
    location: str, token_column: int, tag_column: int | None
) -> Iterable[tuple[list[str], list[str]]]:
    from projner.corpus import conll

    sentences = conll.sentences(location, token_column, tag_column)
    for number, sentence in enumerate(sentences, 1):
        try:
            yield sentence.tokens, tag_schemes.repair(sentence.tags)
        except ValueError as error:
            raise JobError(f"{location}: sentence {number}: {error}; mend it") from None


def _preview(tokens: list[str]) -> str:
    text = " ".join(tokens)
    return repr(text if len(text) <= 40 else text[:39] + "…")
