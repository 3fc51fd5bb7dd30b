"""What a translation engine is, and what the engines for models with language codes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from projner import devices
from projner.batching import Padding, pack
from projner.config import Translate
from projner.errors import JobError
from projner.languages import Language
from projner.translate import checks
from projner.translate.codec import Codec
from projner.translate.markers import Kind

Answer = TypeVar("Answer")
Result = TypeVar("Result")
Finish = Callable[[], list[Result]]
"""Waits for what has begun, one item per row, and gives it."""

CPU_TOKENS = 1024
GPU_TOKENS = 8192
TOKENS_A_ROW = 16
"""A micro-batch has at most one row for so many sub-words of its budget: the scores of the whole
vocabulary, which every row needs at every step, are what fills a GPU when rows are short."""


class Translation(NamedTuple):
    """A text and what is wrong with it, if anything."""

    text: str
    flaw: str | None


class Engine(Protocol):
    """A translation model, loaded onto its device. Lists have one item per text."""

    limit: int
    """Sub-words of the longest text that it reads."""
    padding: Padding
    """What it has read so far."""
    markers: Kind | None
    """What texts may have around entities, for engines that can be told to keep it."""

    def knows(self, language: Language) -> bool:
        """Whether it can translate from and into a language."""
        ...

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Sub-words of each text."""
        ...

    def begin(
        self, texts: Sequence[str], sources: Sequence[Language], targets: Sequence[Language]
    ) -> Finish[Translation]:
        """Begin to translate texts no longer than `limit`, from and into known languages.

        The result waits for the translations and gives them. On a GPU, they are made while the
        caller does something else.
        """
        ...

    def score(
        self,
        texts: Sequence[str],
        translations: Sequence[str],
        sources: Sequence[Language],
        targets: Sequence[Language],
    ) -> np.ndarray:
        """How likely each translation is: the mean log-probability of its sub-words and its end."""
        ...

    def subwords(self, texts: Sequence[str]) -> list[list[int]]:
        """The sub-words of each text."""
        ...

    def token_scores(
        self,
        texts: Sequence[str],
        translations: Sequence[str],
        sources: Sequence[Language],
        targets: Sequence[Language],
    ) -> list[np.ndarray]:
        """The log-probability of each of a translation's `subwords`, given those before, and its end's.

        float64, one array per translation.
        """
        ...


class CodeEngine(ABC):
    """An engine for an encoder-decoder that begins a translation with a language's code."""

    markers: Kind | None = None

    def __init__(self, config: Translate, codec: Codec, positions: int) -> None:
        """An engine that decodes as a resolved `config` says.

        The model reads and writes `positions` sub-words, special ones included.
        """
        self.config = config
        self.codec = codec
        # On either side of the model: a language and an end.
        self.limit = min(positions, codec.longest) - 2
        self.padding = Padding()
        by_default = CPU_TOKENS if config.device == "cpu" else GPU_TOKENS
        self._budget = config.batch_tokens or by_default

    def check_vocabulary(self, size: int) -> None:
        """Raise JobError if the tokenizer has more sub-words than the model, `size`."""
        if self.codec.size > size:
            raise JobError(
                f"{self.config.model}: its tokenizer has {self.codec.size} sub-words and its "
                f"weights {size}; take both from the same checkpoint"
            )

    def knows(self, language: Language) -> bool:
        return self.codec.knows(language)

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        return _lengths(self.codec.encode(texts))

    def begin(
        self, texts: Sequence[str], sources: Sequence[Language], targets: Sequence[Language]
    ) -> Finish[Translation]:
        config, codec = self.config, self.codec
        ids = codec.encode(texts)
        caps = [checks.cap(len(row), config.max_length_ratio, self.limit) for row in ids]

        def begin(rows: np.ndarray) -> Finish[list[int]]:
            return self._begin(
                [codec.frame(ids[row], sources[row]) for row in rows],
                [codec.token(targets[row]) for row in rows],
                max(caps[row] for row in rows),
            )

        def finished(rows: np.ndarray, answers: list[list[int]]) -> list[Translation]:
            written = [row[:-1] if row[-1:] == [codec.end] else row for row in answers]
            flaws = [
                checks.flaw(
                    ids[row],
                    translation,
                    ended=len(translation) < len(answer),
                    cap=caps[row],
                    min_ratio=config.min_length_ratio,
                )
                for row, translation, answer in zip(rows, written, answers, strict=True)
            ]
            return [*map(Translation, codec.decode(written), flaws)]

        return self._in_batches(_lengths(ids) + 2, begin, finished)

    def subwords(self, texts: Sequence[str]) -> list[list[int]]:
        return self.codec.encode(texts)

    def score(
        self,
        texts: Sequence[str],
        translations: Sequence[str],
        sources: Sequence[Language],
        targets: Sequence[Language],
    ) -> np.ndarray:
        scored = self.token_scores(texts, translations, sources, targets)
        return np.array([scores.sum() / len(scores) for scores in scored], np.float32)

    def token_scores(
        self,
        texts: Sequence[str],
        translations: Sequence[str],
        sources: Sequence[Language],
        targets: Sequence[Language],
    ) -> list[np.ndarray]:
        codec = self.codec
        # Phrases come up again and again.
        distinct = list(dict.fromkeys([*texts, *translations]))
        encoded = dict(zip(distinct, codec.encode(distinct), strict=True))
        ids, given = ([encoded[text] for text in side] for side in (texts, translations))

        def begin(rows: np.ndarray) -> Finish[list[float]]:
            return self._begin_scores(
                [codec.frame(ids[row], sources[row]) for row in rows],
                [[codec.token(targets[row]), *given[row]] for row in rows],
            )

        lengths = np.stack([_lengths(ids), _lengths(given)], axis=1) + 2
        return self._in_batches(lengths, begin, lambda _, rows: [*map(np.array, rows)])()

    def _in_batches(
        self,
        lengths: np.ndarray,
        begin: Callable[[np.ndarray], Finish[Answer]],
        finished: Callable[[np.ndarray, list[Answer]], list[Result]],
    ) -> Finish[Result]:
        """Begin micro-batches of all rows; the result awaits them and restores the order.

        What has been `finished` of one is what the caller gets, made while others are computed.
        """
        most = max(1, self._budget // TOKENS_A_ROW)
        begun = [(rows, begin(rows)) for rows in pack(lengths, self._budget, most)]

        def finish() -> list[Result]:
            results: dict[int, Result] = {}
            for batch, first in begun:

                def run(
                    rows: np.ndarray, batch: np.ndarray = batch, first: Finish[Answer] = first
                ) -> list[Answer]:
                    return first() if rows is batch else begin(rows)()

                for rows, answers in devices.halving(run, batch):
                    self.padding.add(lengths[rows])
                    results.update(zip(rows.tolist(), finished(rows, answers), strict=True))
            return [results[row] for row in range(len(lengths))]

        return finish

    @abstractmethod
    def _begin(self, texts: list[list[int]], languages: list[int], cap: int) -> Finish[list[int]]:
        """Begin to translate framed texts; the result waits and gives the sub-words of each.

        These are without the language, with the end if there is one, and at most `cap` without it.
        """

    @abstractmethod
    def _begin_scores(
        self, texts: list[list[int]], translations: list[list[int]]
    ) -> Finish[list[float]]:
        """Begin to score translations, each of which begins with its language.

        The result gives the log-probabilities of what follows that, the end included.
        """


def _lengths(rows: Sequence[Sequence[int]]) -> np.ndarray:
    return np.fromiter(map(len, rows), np.int64, len(rows))
