"""Writes the corpus of `frames.yaml`, always the same: `python -m projner.demo.write_corpus`."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
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
N_LABELLED = 600
"""English sentences with labels and without a translation."""

Text = str | list[str]
Links = list[tuple[int, int]]


class Phrase(NamedTuple):
    """A name, a frame or a sentence: by language, words, entities and links of English with it."""

    words: list[list[str]]
    entities: list[list[Span]]
    links: list[Links]


def parse(texts: Text, label: str = "") -> Phrase:
    """A phrase as `frames.yaml` writes it (one text serves all languages); an entity if labelled.

    Raises ValueError for a link to a word that the English text does not have.
    """
    phrase = Phrase([], [], [])
    texts = [texts] * len(LANGUAGES) if isinstance(texts, str) else texts
    english = _numbered(texts[0].split())
    for text in texts:
        pairs = [item.partition("/")[::2] for item in text.split()]
        words = [word for word, _ in pairs]
        links: Links = []
        for target, (name, (_, keys)) in enumerate(zip(_numbered(words), pairs, strict=True)):
            alike = [name] if name in english else english if len(english) == 1 else []
            sources = keys.split("+") if keys else alike
            links += [(english.index(source), target) for source in sources]
        phrase.words.append(words)
        phrase.entities.append([Span(0, len(words), label)] if label else [])
        phrase.links.append(links)
    return phrase


def fill(frame: Phrase, values: Mapping[str, Phrase], feminine: bool) -> Phrase:
    """The sentence with a value in each slot of a frame; `feminine` decides between `ya|ta`."""
    sentence = Phrase([], [], [])
    starts: list[list[int]] = []
    for language, items in enumerate(frame.words):
        parts = [values[item].words[language] if item in values else [item] for item in items]
        starts.append([0, *accumulate(map(len, parts))])
        words = [word.split("|")[-1 if feminine else 0] for word in chain(*parts)]
        first = next(i for i, word in enumerate(words) if word[0].isalnum())
        words[first] = words[first][0].upper() + words[first][1:]
        sentence.words.append(words)
        slots = [(i, values[item]) for i, item in enumerate(items) if item in values]
        found = [(starts[-1][i], span) for i, value in slots for span in value.entities[language]]
        sentence.entities.append([Span(at + s, at + e, label) for at, (s, e, label) in found])
        links: Links = []
        for i, j in frame.links[language]:
            slot = frame.words[0][i]
            inner = values[slot].links[language] if slot in values else [(0, 0)]
            links += [(starts[0][i] + s, starts[-1][j] + t) for s, t in inner]
        sentence.links.append(sorted(links))
    return sentence


def sentences(
    path: Path = FRAMES, seed: int = 0, n_train: int = N_TRAIN
) -> dict[str, list[Phrase]]:
    """The splits `train`, `test` and `labelled`; no English sentence occurs twice."""
    # `random` alone is promised to give the same numbers in every version of Python.
    uniform = random.Random(seed).random
    source = yaml.safe_load(path.read_text(encoding="utf-8"))
    values = {slot: [parse(text) for text in texts] for slot, texts in source["words"].items()}
    for label, slots in source["entities"].items():
        values |= {slot: [parse(text, label) for text in texts] for slot, texts in slots.items()}
    surnames = source["entities"]["PER"]["surname"]
    for kind, names in source["first_names"].items():
        full = [f"{name} {surname}" for name in names for surname in surnames]
        # A third of the people go by their first name.
        values[kind] = [parse(name, "PER") for name in full + names * (len(surnames) // 2)]
    seen: set[tuple[str, ...]] = set()

    def drawn(frames: Iterable[Text], count: int) -> list[Phrase]:
        found: list[Phrase] = []
        parsed = sorted(map(parse, frames), key=lambda _: uniform())
        while len(found) < count:
            sentence = _draw(parsed[len(found) % len(parsed)], values, uniform)
            if sentence and tuple(sentence.words[0]) not in seen:
                seen.add(tuple(sentence.words[0]))
                found.append(sentence)
        return found

    train = drawn(source["frames"], n_train)
    test = drawn(source["frames"], N_TEST[0]) + drawn(source["test_frames"], N_TEST[1])
    test.sort(key=lambda _: uniform())
    return {"train": train, "test": test, "labelled": drawn(source["frames"], N_LABELLED)}


def write(folder: Path = CORPUS) -> None:
    """Writes `SPLIT.LANGUAGE.conll` and `SPLIT.eng-LANGUAGE.pharaoh` into a folder.

    Of `labelled`, only the English side: what a job is given that makes training data.
    """
    for split, rows in sentences().items():
        for i, language in enumerate(LANGUAGES[:1] if split == "labelled" else LANGUAGES):
            conll = "\n".join(_conll(row.words[i], row.entities[i]) for row in rows)
            (folder / f"{split}.{language}.conll").write_bytes(conll.encode())
            pharaoh = "".join(" ".join(f"{s}-{t}" for s, t in row.links[i]) + "\n" for row in rows)
            if i > 0:
                (folder / f"{split}.eng-{language}.pharaoh").write_bytes(pharaoh.encode())


def _draw(
    frame: Phrase, values: Mapping[str, Sequence[Phrase]], uniform: Callable[[], float]
) -> Phrase | None:
    """The frame with values drawn for its slots; None where two of them share a word."""
    drawn: dict[str, Phrase] = {}
    feminine = False
    for slot in dict.fromkeys(item for item in frame.words[0] if item.startswith("{")):
        kind = slot.strip("{}").rstrip("0123456789")
        if kind == "per":
            kind = "woman" if uniform() < 0.5 else "man"
            feminine |= slot == "{per1}" and kind == "woman"
        drawn[slot] = values[kind][int(uniform() * len(values[kind]))]
    used = [word for value in drawn.values() for word in value.words[0]]
    return fill(frame, drawn, feminine) if len(set(used)) == len(used) else None


def _conll(words: Sequence[str], entities: Sequence[Span]) -> str:
    tags = to_tags(entities, len(words))
    return "".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True))


def _numbered(items: list[str]) -> list[str]:
    """`a b a` -> `a b a2`."""
    counts = (items[: i + 1].count(item) for i, item in enumerate(items))
    return [item if n == 1 else f"{item}{n}" for item, n in zip(items, counts, strict=True)]


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
