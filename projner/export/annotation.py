"""Formats of tools that people annotate with: brat and Label Studio. Offsets are in characters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from projner.export.sentences import Sentence

BRAT_SENTENCES = 100
"""Sentences of a file, where they come from no document."""


def brat(sentences: Iterable[Sentence], folder: Path) -> None:
    """`NAME.txt` with a sentence a line, and `NAME.ann` beside it; a pair for each document."""
    folder.mkdir()
    for name, part in _documents(sentences):
        lines: list[str] = []
        notes: list[str] = []
        offset = 0
        for sentence in part:
            # A line's end would be a sentence's; the offsets stay.
            text = "".join(" " if char in "\n\r" else char for char in sentence.text)
            for label, start, end in _spans(sentence):
                notes.append(
                    f"T{len(notes) + 1}\t{label} {offset + start} {offset + end}\t{text[start:end]}\n"
                )
            lines.append(text + "\n")
            offset += len(text) + 1
            (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
        (folder / f"{name}.ann").write_text("".join(notes), encoding="utf-8", newline="\n")


def label_studio(sentences: Iterable[Sentence], path: Path, signature: str = "") -> None:
    """Tasks for Label Studio's import, with predictions; what people corrected is an annotation already.

    The labelling interface is in its manual. `signature` tells its users which run the predictions come from.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, sentence in enumerate(sentences):
            task = _task(sentence, signature)
            file.write((",\n" if number else "\n") + json.dumps(task, ensure_ascii=False))
        file.write("\n]\n")


def _task(sentence: Sentence, signature: str) -> dict[str, Any]:
    results = [
        {
            "id": f"{sentence.id}-{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "score": entity["score"],
            "value": {
                "start": start,
                "end": end,
                "text": sentence.text[start:end],
                "labels": [label],
            },
        }
        for number, (entity, (label, start, end)) in enumerate(
            zip(sentence.entities, _spans(sentence), strict=True)
        )
    ]
    # JavaScript has no 64-bit integers.
    data = {"text": sentence.text, "id": str(sentence.id), "lang": sentence.language}
    if sentence.source_text is not None:
        data["source"] = sentence.source_text
    if sentence.corrected:
        return {"data": data, "annotations": [{"ground_truth": True, "result": results}]}
    score = min((entity["score"] for entity in sentence.entities), default=None)
    prediction = {"model_version": signature, "result": results}
    return {"data": data, "predictions": [{**prediction, **({"score": score} if score else {})}]}


def _spans(sentence: Sentence) -> list[tuple[str, int, int]]:
    """Label, start and end of each entity, in characters of the text."""
    places = sentence.offsets()
    return [
        (each["label"], places[each["start"]][0], places[each["end"] - 1][1])
        for each in sentence.entities
    ]


def _documents(sentences: Iterable[Sentence]) -> Iterator[tuple[str, list[Sentence]]]:
    """Sentences by document, as they follow each other; those of none in parts of some."""
    part: list[Sentence] = []
    number = 0
    for sentence in sentences:
        parted = part and sentence.doc != part[0].doc
        if parted or (len(part) == BRAT_SENTENCES and sentence.doc is None):
            number += 1
            yield f"{number:06}", part
            part = []
        part.append(sentence)
    if part:
        yield f"{number + 1:06}", part
