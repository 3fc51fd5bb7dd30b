"""Formats of lines: CoNLL, IOB2 as Universal NER writes it, JSON lines, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from projner.export.sentences import Sentence


def conll(sentences: Iterable[Sentence], path: Path) -> None:
    """`token TAB tag`, a blank line after each sentence."""
    with path.open("w", encoding="utf-8") as file:
        for sentence in sentences:
            file.writelines(
                f"{token}\t{tag}\n"
                for token, tag in zip(sentence.tokens, sentence.tags, strict=True)
            )
            file.write("\n")


def iob2(sentences: Iterable[Sentence], path: Path) -> None:
    """Universal NER's files: `# sent_id`, `# text`, then `number TAB token TAB tag TAB - TAB -`."""
    with path.open("w", encoding="utf-8") as file:
        for sentence in sentences:
            text = " ".join(sentence.text.split())
            file.write(f"# sent_id = {sentence.id}\n# text = {text}\n")
            pairs = zip(sentence.tokens, sentence.tags, strict=True)
            file.writelines(
                f"{number}\t{token}\t{tag}\t-\t-\n" for number, (token, tag) in enumerate(pairs, 1)
            )
            file.write("\n")


def jsonl(sentences: Iterable[Sentence], path: Path) -> None:
    """An object a line: `id`, `lang`, `text`, `tokens`, `ner_tags`, `entities`, `source_text`,
    and whether people `corrected` it.

    Entities have words (`start`, `end`) and characters of the text (`start_char`, `end_char`), ends
    exclusive. `projner.corpus` reads such files back.
    """
    with path.open("w", encoding="utf-8") as file:
        for sentence in sentences:
            places = sentence.offsets()
            entities = [
                {
                    **entity,
                    "start_char": places[entity["start"]][0],
                    "end_char": places[entity["end"] - 1][1],
                }
                for entity in sentence.entities
            ]
            row = {
                "id": sentence.id,
                "lang": sentence.language,
                "text": sentence.text,
                "tokens": sentence.tokens,
                "ner_tags": sentence.tags,
                "entities": entities,
                "source_text": sentence.source_text,
                "corrected": sentence.corrected,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def table(sentences: Iterable[Sentence], path: Path) -> None:
    """CSV with a row for each entity, for a spreadsheet."""
    header = (
        "id",
        "lang",
        "label",
        "entity",
        "start",
        "end",
        "score",
        "confidence",
        "text",
        "source",
    )
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for sentence in sentences:
            places = sentence.offsets()
            for entity in sentence.entities:
                start, end = entity["start"], entity["end"]
                words = sentence.text[places[start][0] : places[end - 1][1]]
                writer.writerow(
                    [
                        sentence.id,
                        sentence.language,
                        entity["label"],
                        words,
                        start,
                        end,
                        entity["score"],
                        entity.get("confidence"),
                        sentence.text,
                        sentence.source_text,
                    ]
                )
