"""How much a sentence is like each of several languages (Wu et al. 2020, arXiv 2004.12440).

A language is a vector p, a sentence the mean x of an encoder's states over its sub-words, and they are
alike by the bilinear form s = U x . V p of low rank. It is learnt by telling the languages of sentences
apart, with a penalty on vectors of languages that are not orthogonal to each other; a softmax of s over
the languages gives a sentence's weights.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from projner import checkpoints, config, storage
from projner.align.encoder import HiddenStates
from projner.align.reading import Sentences, layers_key
from projner.corpus import conll
from projner.errors import JobError
from projner.train.config import Learned

Floats = npt.NDArray[np.floating[Any]]

STEPS = 300
RATE = 1e-3
ENCODED = 256
"""Sentences whose states are held at once."""


@dataclass(frozen=True)
class Languages:
    """What was learnt: scores of languages, linear in a sentence's vector."""

    model: str
    revision: str | None
    slopes: Floats
    """(width, languages)."""
    offsets: Floats
    """(languages,)."""
    temperature: float
    """What scores are divided by before the softmax: their variance over the text at hand, so that no
    weight is all or nothing."""

    def weights(self, tokens: pa.ListArray) -> Floats:
        """The weight of each language for each sentence: (sentences, languages), each row sums to 1."""
        vectors = features(self.model, self.revision, tokens)
        return softmax((vectors @ self.slopes + self.offsets) / self.temperature)

    def save(self, file: Path) -> None:
        """Write it, whole or not at all."""
        content = io.BytesIO()
        np.savez(content, **vars(self) | {"revision": self.revision or ""})
        storage.at(file).write(content.getvalue())

    @classmethod
    def load(cls, file: Path) -> Languages:
        """What `save` wrote."""
        with np.load(file) as stored:
            return cls(
                str(stored["model"]),
                str(stored["revision"]) or None,
                stored["slopes"],
                stored["offsets"],
                float(stored["temperature"]),
            )


def texts(section: Learned) -> tuple[list[list[str]], ...]:
    """The words of the first sentences of each language's text. Raises JobError."""
    found = []
    for gold in section.texts:
        sentences = conll.sentences(gold.path, gold.token_column, gold.tag_column)
        found.append([each.tokens for each in islice(sentences, section.sentences)])
        if not found[-1]:
            raise JobError(f"{gold.path}: holds no sentences; give a CoNLL file")
    return tuple(found)


def digest(texts: Sequence[list[list[str]]]) -> str:
    """What tells these sentences from others."""
    return f"{zlib.crc32(repr(texts).encode()):08x}"


def learn(
    section: Learned,
    texts: Sequence[list[list[str]]],
    sample: list[list[str]],
    seed: int = 0,
) -> Languages:
    """Learn to tell languages apart by sentences of each; `sample` is of the text to be weighed."""
    of = [features(section.model, section.revision, _column(text)) for text in texts]
    slopes, offsets = classifier(of, section.rank, section.orthogonality, seed)
    scores = features(section.model, section.revision, _column(sample)) @ slopes + offsets
    temperature = max(float(scores.var()), 1e-6)
    return Languages(section.model, section.revision, slopes, offsets, temperature)


def classifier(
    vectors: Sequence[Floats], rank: int, orthogonality: float, seed: int = 0
) -> tuple[Floats, Floats]:
    """The slopes (width, languages) and offsets (languages,) of the scores that tell languages apart.

    `vectors` has those of each language's sentences, (sentences, width); a language counts the same
    however many it has.
    """
    import torch
    from torch.nn import Linear, Parameter
    from torch.nn.functional import cross_entropy

    sizes = [len(each) for each in vectors]
    stacked = np.concatenate(vectors)
    # Widths of very different scale would be learnt at very different speed.
    center, scale = stacked.mean(axis=0), stacked.std(axis=0) + 1e-6
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width, languages = stacked.shape[1], len(vectors)
        given = torch.tensor((stacked - center) / scale, dtype=torch.float32)
        labels = torch.arange(languages).repeat_interleave(torch.tensor(sizes))
        balance = torch.tensor([len(stacked) / languages / size for size in sizes])
        left, right = Linear(width, rank), Linear(width, rank)
        known = Parameter(torch.randn(languages, width) / width**0.5)
        optimiser = torch.optim.Adam([*left.parameters(), *right.parameters(), known], RATE)
        for _ in range(STEPS):
            scores = left(given) @ right(known).T
            angles = known @ known.T - torch.eye(languages)
            loss = cross_entropy(scores, labels, balance) + orthogonality * angles.square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            side = right(known)
            slopes = (left.weight.T @ side.T).double().numpy() / scale[:, None]
            offsets = (side @ left.bias).double().numpy() - center @ slopes
    return slopes, offsets


def features(model: str, revision: str | None, tokens: pa.ListArray) -> Floats:
    """The mean of an encoder's last states over each sentence's sub-words: (sentences, width)."""
    encoder = _encoder(model, revision)
    return np.concatenate(
        [_means(encoder, tokens.slice(a, ENCODED)) for a in range(0, len(tokens), ENCODED)]
        or [np.empty((0, 0))]
    )


def softmax(scores: Floats) -> Floats:
    """(n, k), each row sums to 1."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def _means(encoder: HiddenStates, tokens: pa.ListArray) -> Floats:
    counts = np.asarray(pc.list_value_length(tokens), np.int64)
    pieces = encoder.encode(pc.list_flatten(tokens))
    # Told the language, a translation model would show nothing else.
    sentences = Sentences(pieces, counts, ["eng_Latn"] * len(counts))
    states = encoder.states(sentences).float().cpu().numpy().astype(np.float64)
    bounds = sentences.first_piece
    sums = np.zeros((len(counts), states.shape[1]))
    np.add.at(sums, np.repeat(np.arange(len(counts)), np.diff(bounds)), states)
    means: Floats = sums / np.maximum(np.diff(bounds), 1)[:, None]
    return means


@lru_cache(maxsize=1)
def _encoder(model: str, revision: str | None) -> HiddenStates:
    settings = checkpoints.load_config(model, revision)
    last = int(getattr(settings, layers_key(settings)))
    return HiddenStates(
        config.Encoder(
            engine="encoder", model=model, revision=revision, layer=last, dtype="float32"
        )
    )


def _column(sentences: list[list[str]]) -> pa.ListArray:
    return pa.array(sentences, pa.list_(pa.string()))
