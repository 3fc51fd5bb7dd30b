"""Writes the demo corpus from `frames.yaml`: `python -m projner.demo.write_corpus [FOLDER]`.

Line-parallel English, Swahili and Hausa with entities on every side and gold word links; every run
writes the same.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from projner.tags import Span, to_tags

LANGUAGES = ("eng", "swh", "hau")
FRAMES = Path(__file__).with_name("frames.yaml")
CORPUS = Path(__file__).with_name("corpus")
N_TRAIN = 600
N_TEST = 96, 24
"""Test sentences with frames that train has too, and with frames of their own."""

Text = str | list[str]
Links = list[tuple[int, int]]


class Phrase(NamedTuple):
    """Words (in a frame: and slots) by language, links of English with each, the entity's class."""

    words: list[list[str]]
    links: list[Links]
    label: str = ""


class Sentence(NamedTuple):
    """Words and entities by language, links of English with each."""

    words: list[list[str]]
    entities: list[list[Span]]
    links: list[Links]


def parse(texts: Text, label: str = "") -> Phrase:
    """A phrase as `frames.yaml` writes it; a single text serves all languages.

    Raises ValueError for a link to a word that the English text does not have.
    """
    texts = [texts] * len(LANGUAGES) if isinstance(texts, str) else texts
    english = _numbered(texts[0].split())
    words, links = [], []
    for text in texts:
        pairs = [item.partition("/")[::2] for item in text.split()]
        words.append([word for word, _ in pairs])
        links.append([])
        for target, (name, (_, keys)) in enumerate(zip(_numbered(words[-1]), pairs, strict=True)):
            alike = [name] if name in english else english if len(english) == 1 else []
            sources = keys.split("+") if keys else alike
            links[-1] += [(english.index(source), target) for source in sources]
    return Phrase(words, links, label)


def fill(frame: Phrase, values: Mapping[str, Phrase], feminine: bool) -> Sentence:
    """The frame with a value in the place of every slot; `feminine` is the person it agrees with."""
    sentence = Sentence([], [], [])
    starts: list[list[int]] = []
    for language, items in enumerate(frame.words):
        words: list[str] = []
        entities = []
        starts.append([])
        for item in items:
            starts[-1].append(len(words))
            value = values.get(item)
            words += value.words[language] if value else [item]
            if value and value.label:
                entities.append(Span(starts[-1][-1], len(words), value.label))
        words = [word.split("|")[-1 if feminine else 0] for word in words]
        first = next(i for i, word in enumerate(words) if word[0].isalnum())
        words[first] = words[first][0].upper() + words[first][1:]
        sentence.words.append(words)
        sentence.entities.append(entities)
    for language, frame_links in enumerate(frame.links):
        links: Links = []
        for i, j in frame_links:
            value = values.get(frame.words[0][i])
            inner = value.links[language] if value else [(0, 0)]
            links += [(starts[0][i] + source, starts[language][j] + target) for source, target in inner]
        sentence.links.append(sorted(links))
    return sentence


def sentences(path: Path = FRAMES, seed: int = 0) -> tuple[list[Sentence], list[Sentence]]:
    """The train and the test split; no English sentence occurs twice."""
    # `random` alone is promised to give the same numbers in every version of Python.
    uniform = random.Random(seed).random
    source = yaml.safe_load(path.read_text(encoding="utf-8"))
    values = {slot: [parse(text) for text in texts] for slot, texts in source["words"].items()}
    for label, slots in source["entities"].items():
        values |= {slot: [parse(text, label) for text in texts] for slot, texts in slots.items()}
    seen: set[tuple[str, ...]] = set()

    def drawn(frames: Iterable[Text], count: int) -> list[Sentence]:
        found: list[Sentence] = []
        parsed = sorted(map(parse, frames), key=lambda _: uniform())
        while len(found) < count:
            sentence = _draw(parsed[len(found) % len(parsed)], values, uniform)
            if sentence and tuple(sentence.words[0]) not in seen:
                seen.add(tuple(sentence.words[0]))
                found.append(sentence)
        return found

    train, test = drawn(source["frames"], N_TRAIN), drawn(source["frames"], N_TEST[0])
    test += drawn(source["test_frames"], N_TEST[1])
    return train, sorted(test, key=lambda _: uniform())


def write(folder: Path = CORPUS) -> None:
    """Writes `SPLIT.LANGUAGE.conll` and `SPLIT.eng-LANGUAGE.pharaoh`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in zip(("train", "test"), sentences(), strict=True):
        for i, language in enumerate(LANGUAGES):
            conll = "\n".join(_conll(row.words[i], row.entities[i]) for row in rows)
            (folder / f"{split}.{language}.conll").write_bytes(conll.encode())
            if i > 0:
                pharaoh = "".join(" ".join(f"{s}-{t}" for s, t in r.links[i]) + "\n" for r in rows)
                (folder / f"{split}.eng-{language}.pharaoh").write_bytes(pharaoh.encode())


def _draw(
    frame: Phrase, values: Mapping[str, Sequence[Phrase]], uniform: Callable[[], float]
) -> Sentence | None:
    """The frame with values drawn for its slots; None where two of them share a word."""
    drawn: dict[str, Phrase] = {}
    feminine = False
    for slot in dict.fromkeys(item for item in frame.words[0] if item.startswith("{")):
        kind = slot.strip("{}").rstrip("0123456789")
        if kind == "per":
            kind = "woman" if uniform() < 0.5 else "man"
            feminine |= slot == "{per1}" and kind == "woman"
        drawn[slot] = values[kind][int(uniform() * len(values[kind]))]
    used = Counter(word for value in drawn.values() for word in value.words[0])
    return None if max(used.values()) > 1 else fill(frame, drawn, feminine)


def _conll(words: Sequence[str], entities: Sequence[Span]) -> str:
    tags = to_tags(entities, len(words))
    return "".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True))


def _numbered(items: Iterable[str]) -> list[str]:
    """`a b a` -> `a b a2`."""
    seen: Counter[str] = Counter()
    names = []
    for item in items:
        seen[item] += 1
        names.append(item if seen[item] == 1 else f"{item}{seen[item]}")
    return names


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
