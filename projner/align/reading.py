"""What an encoder reads: the sub-words of sentences, in the frames that its tokenizer gives them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from projner import checkpoints, subwords
from projner.batching import ranges
from projner.errors import JobError
from projner.subwords import Frame, SubWords


@dataclass(frozen=True)
class Sentences:
    """Sentences by their words' sub-words."""

    pieces: SubWords
    counts: np.ndarray
    """Words of each sentence."""
    languages: Sequence[str]

    @property
    def first_word(self) -> np.ndarray:
        """Where each sentence's words begin (sentences + 1)."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @property
    def first_piece(self) -> np.ndarray:
        """Where each sentence's sub-words begin (sentences + 1)."""
        pieces: np.ndarray = np.concatenate([[0], np.cumsum(self.pieces.sizes)])
        return pieces.take(self.first_word)

    @property
    def words(self) -> np.ndarray:
        """The word, in its sentence, of every sub-word."""
        places = ranges(np.zeros(len(self.counts), np.int64), self.counts)
        return np.repeat(places, self.pieces.sizes)


class Reader:
    """A checkpoint's tokenizer.

    Raises JobError if it cannot be loaded.
    """

    def __init__(self, model: str, revision: str | None = None) -> None:
        self._model = model
        self.tokenizer: Any = checkpoints.load_tokenizer(model, revision)
        # Its own copy: words may be encoded in a thread while a frame is looked up.
        self._words = copy.deepcopy(self.tokenizer.backend_tokenizer)
        self._words.no_truncation()
        self._words.no_padding()
        self._frames: dict[str, Frame] = {}

    @property
    def all_alike(self) -> bool:
        """Whether sentences are read in the same way whatever their language."""
        return not hasattr(self.tokenizer, "src_lang")

    def limit(self, model: Any) -> int:
        """Sub-words of a sentence that the model reads at once, special ones apart."""
        return subwords.limit(model, self.tokenizer) - self.frame("").size

    def encode(self, words: pa.StringArray, limit: int) -> SubWords:
        """The sub-words of every word, the first `limit` of each."""
        return subwords.encode(words, self._words, limit)

    def frame(self, language: str) -> Frame:
        """The special tokens around a sentence; translation models have one for the language."""
        if language not in self._frames:
            if language and not self.all_alike:
                self.tokenizer.src_lang = language
            self._frames[language] = subwords.frame(self.tokenizer, self._model)
        return self._frames[language]

    def by_frame(self, languages: Sequence[str]) -> Iterable[tuple[Frame, np.ndarray]]:
        """The sentences, by number, that are read within the same frame."""
        if self.all_alike:
            yield self.frame(""), np.arange(len(languages))
            return
        named = np.array(languages, object)
        for language in dict.fromkeys(languages):
            yield self.frame(language), np.flatnonzero(named == language)


def layers_key(settings: Any) -> str:
    """The key of a checkpoint's configuration that counts the layers of its encoder."""
    return "encoder_layers" if settings.is_encoder_decoder else "num_hidden_layers"


def layers(settings: Any, model: str, wanted: int, key: str = "align.layer") -> int:
    """How many layers a checkpoint's encoder has.

    Raises JobError, naming the file's `key`, if it lacks layer `wanted`.
    """
    there = int(getattr(settings, layers_key(settings)))
    if wanted > there:
        raise JobError(f"{model}: has {there} layers; set {key} to one of 0..{there}")
    return there
