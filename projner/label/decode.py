"""What a model's labels mean, and from word probabilities to entities."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from projner import record
from projner.tags import split_tag


@dataclass(frozen=True)
class Labels:
    """The tags that words can get, and how the model's labels become these."""

    tags: tuple[str, ...]
    """Tags of IOBES, which contains the other schemes; `O` is among them."""
    columns: tuple[int, ...]
    """For each of the model's labels, the tag that its probability adds to."""

    @classmethod
    def read(
        cls,
        names: Sequence[str],
        rename: Mapping[str, str] | None = None,
        ignore: Sequence[str] = (),
    ) -> Labels:
        """The meaning of a model's label names.

        `rename` maps classes to classes, `ignore` has classes or whole names that count as O.

        Raises ValueError for a name that is not a tag, if there is no O, and for a class to be
        renamed or ignored that the model does not know.
        """
        rename = rename or {}
        meant = [_meaning(name, rename, ignore) for name in names]
        if "O" not in names:
            raise ValueError("no label is called O; name the labels under id2label in config.json")
        classes = {name.partition("-")[2] for name in names} - {""}
        for asked in (*rename, *ignore):
            if asked not in classes and asked not in names:
                known = ", ".join(sorted(classes))
                raise ValueError(f"has no class {asked} to rename or ignore; it knows {known}")
        tags = tuple(dict.fromkeys(meant))
        return cls(tags, tuple(tags.index(tag) for tag in meant))

    @property
    def outside(self) -> int:
        """The index of O."""
        return self.tags.index("O")

    def fold(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (words, tags) from those of the model's own labels (words, labels)."""
        if self.columns == tuple(range(len(self.tags))):
            return probabilities
        matrix = np.zeros((len(self.columns), len(self.tags)), probabilities.dtype)
        matrix[np.arange(len(self.columns)), self.columns] = 1
        return probabilities @ matrix


def _meaning(name: str, rename: Mapping[str, str], ignore: Sequence[str]) -> str:
    if name in ignore:
        return "O"
    try:
        prefix, label = split_tag(name)
    except ValueError as error:
        mend = "name the labels under id2label in its config.json"
        if not re.fullmatch(r"LABEL_\d+", name):
            mend += ", or list it under `ignore`"
        raise ValueError(f"label {error}; {mend}") from None
    if prefix == "O" or label in ignore:
        return "O"
    return f"{prefix}-{rename.get(label, label)}"


def entities(probabilities: np.ndarray, counts: np.ndarray, tags: Sequence[str]) -> pa.ListArray:
    """Entities of each sentence, as `record.ENTITY`, from the tag probabilities of its words.

    `probabilities` is (words, tags), of sentences of `counts` words one after the other. A word
    gets its most probable tag, and the tags are read as `tags.to_spans` reads them. An entity's
    score is the mean, over its words, of the probability of the word's tag.
    """
    prefixes, labels = zip(*(split_tag(tag) for tag in tags), strict=True)
    classes, numbers = np.unique(labels, return_inverse=True)
    best = probabilities.argmax(axis=1)
    inside, continues, closes = (
        np.isin(prefixes, list(kind))[best] for kind in ("BIES", "IE", "OES")
    )
    label = numbers[best]
    sentence = np.repeat(np.arange(len(counts)), counts)

    goes_on = np.zeros(len(best), dtype=bool)
    goes_on[1:] = (
        continues[1:] & ~closes[:-1] & (label[1:] == label[:-1]) & (sentence[1:] == sentence[:-1])
    )
    begins = np.flatnonzero(inside & ~goes_on)
    entity = np.cumsum(inside & ~goes_on)[inside] - 1
    words = np.bincount(entity, minlength=len(begins))
    scores = np.bincount(entity, probabilities.max(axis=1)[inside], len(begins)) / words

    start = begins - (np.cumsum(counts) - counts)[sentence[begins]]
    columns = [
        pa.array(start, pa.int32()),
        pa.array(start + words, pa.int32()),
        pa.array(classes.tolist(), pa.string()).take(pa.array(label[begins])),
        pa.array(scores, pa.float32()),
    ]
    per_sentence = np.bincount(sentence[begins], minlength=len(counts))
    offsets = np.concatenate([[0], np.cumsum(per_sentence)])
    values = pa.StructArray.from_arrays(columns, fields=list(record.ENTITY))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
