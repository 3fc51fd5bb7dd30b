"""Sentences to measure with: made up so that anyone can run a benchmark, or a file's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from projner import config, record
from projner.errors import JobError

DEMO = "demo"
CORPUS = Path(__file__).parents[1] / "demo" / "corpus"
VOCABULARY = 20_000
MEDIAN_WORDS = 20
SPREAD = 0.6
"""Standard deviation of the logarithm of a sentence's length, about that of news."""
MOST_WORDS = 120
ENTITIES_A_WORD = 0.07
CLASSES = ("PER", "ORG", "LOC")
_SOURCE = [consonant + vowel for consonant in "bdfgklmnprstvwz" for vowel in "aeiou"]
_TARGET = [vowel + consonant for vowel in "aiueo" for consonant in "bcdghjklmnpqrst"]


@dataclass(frozen=True)
class Pair:
    """A sentence, its labelled spans, its translation, and the words that translate each other."""

    source: list[str]
    target: list[str]
    entities: list[tuple[int, int, str]]
    """(start, end, label); end exclusive."""
    links: list[tuple[int, int]]


def demo_job() -> config.Job:
    """The labelled, linked sentence pairs that come with projner."""
    corpus = config.Corpus(
        format="bitext",
        root=str(CORPUS),
        source=("train.eng.conll",),
        target=("train.swh.conll",),
        links=("train.eng-swh.pharaoh",),
        source_lang="eng_Latn",
        target_lang=("swh_Latn",),
    )
    return config.Job(corpus=corpus)


def sentences(rows: int, seed: int = 0) -> list[list[str]]:
    """Words by Zipf's law in sentences whose lengths are log-normal."""
    chance = np.random.default_rng(seed)
    return [
        [_word(rank, _SOURCE) for rank in ranks] for ranks in _ranks(_lengths(rows, chance), chance)
    ]


def pairs(rows: int, seed: int = 0) -> list[Pair]:
    """Sentences with translations: words change places, vanish and double, and links go wrong."""
    chance = np.random.default_rng(seed)
    return pairs_of_lengths(_lengths(rows, chance), chance)


def pairs_of_lengths(lengths: np.ndarray, chance: np.random.Generator) -> list[Pair]:
    """The same for sentences of so many words."""
    return [_pair(ranks, chance) for ranks in _ranks(lengths, chance)]


def read(file: str, rows: int) -> list[list[str]]:
    """The first sentences of a file of plain text, one a line. Raises JobError if it has none."""
    return [line.split() for line in _lines(file, rows)]


def read_pairs(file: str, rows: int) -> list[Pair]:
    """The first lines `source ||| target` of a file. Raises JobError if one is not such."""
    found = []
    for number, line in enumerate(_lines(file, rows), 1):
        source, bars, target = (part.split() for part in line.partition("|||"))
        if not (source and bars and target):
            raise JobError(f"{file}:{number}: write pairs as `source words ||| target words`")
        found.append(Pair(source, target, [], []))
    return found


def as_table(found: list[Pair], languages: tuple[str, str] = ("eng_Latn", "swh_Latn")) -> pa.Table:
    """Rows of the record, with texts, words, entities and links."""
    rows = [
        {
            "source_lang": languages[0],
            "target_lang": languages[1],
            "source_text": " ".join(pair.source),
            "target_text": " ".join(pair.target),
            "source_tokens": pair.source,
            "target_tokens": pair.target,
            "source_entities": [
                {"start": start, "end": end, "label": label, "score": 1.0}
                for start, end, label in pair.entities
            ],
            "links": [{"source": s, "target": t, "score": 1.0} for s, t in pair.links],
            "status": record.Status.OK.value,
            "status_detail": None,
        }
        for pair in found
    ]
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def _lines(file: str, rows: int) -> list[str]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{file}: cannot be read: {error}") from None
    lines = [line for line in text.split("\n") if line.strip()][:rows]
    if not lines:
        raise JobError(f"{file}: holds no sentences; give one a line")
    return lines


def _lengths(rows: int, chance: np.random.Generator) -> np.ndarray:
    lengths = np.exp(chance.normal(np.log(MEDIAN_WORDS), SPREAD, rows))
    words: np.ndarray = np.clip(lengths.round(), 1, MOST_WORDS).astype(int)
    return words


def _ranks(lengths: np.ndarray, chance: np.random.Generator) -> Iterator[np.ndarray]:
    """The words of each sentence, by their rank in the vocabulary."""
    shares = 1 / (np.arange(VOCABULARY) + 2.7)
    ranks = chance.choice(VOCABULARY, int(lengths.sum()), p=shares / shares.sum())
    yield from np.split(ranks, np.cumsum(lengths)[:-1])


def _word(rank: int, syllables: list[str]) -> str:
    """A word of its own for every rank; frequent ones are short."""
    word, rest = "", int(rank) + 1
    while rest:
        rest, syllable = divmod(rest, len(syllables))
        word += syllables[syllable]
    return word


def _pair(ranks: np.ndarray, chance: np.random.Generator) -> Pair:
    count = len(ranks)
    source = [_word(rank, _SOURCE) for rank in ranks]
    entities: list[tuple[int, int, str]] = []
    after = 0
    for start in np.flatnonzero(chance.random(count) < ENTITIES_A_WORD).tolist():
        end = min(count, start + int(chance.integers(1, 4)))
        if start >= after:
            entities.append((start, end, str(chance.choice(CLASSES))))
            source[start:end] = [word.capitalize() for word in source[start:end]]
            after = end
    order = np.argsort(np.arange(count) + chance.normal(0, 1, count))
    translated = np.repeat(order, chance.choice([0, 1, 2], count, p=[0.08, 0.84, 0.08]))
    if not len(translated):
        translated = order
    links = {
        (source_word, place)
        for place, source_word in enumerate(translated.tolist())
        if chance.random() < 0.9
    }
    for _ in range(count // 20):
        links.add((int(chance.integers(count)), int(chance.integers(len(translated)))))
    target = [_word(ranks[word], _TARGET) for word in translated]
    return Pair(source, target, entities, sorted(links))
