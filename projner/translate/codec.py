"""Text to sub-words and back, and languages to the codes that a model has for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from projner import checkpoints, languages
from projner.errors import JobError
from projner.languages import Language

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OTHER_NAMES = {"no": "nob_Latn", "ns": "nso_Latn"}
"""Codes of M2M-100 that are no codes of one language."""


class Code(NamedTuple):
    """A language in a model: what begins a translation into it, and what frames a text in it."""

    token: int
    prefix: list[int]
    suffix: list[int]


class Codec:
    """The tokenizer of a model that translates between languages with codes.

    Raises JobError if it cannot be loaded, or has no codes.
    """

    size: int
    """How many ids it may give."""
    longest: int
    """Sub-words that it believes the model to read."""
    pad: int
    end: int

    def __init__(self, model: str, revision: str | None = None) -> None:
        self._tokenizer: Any = load_tokenizer(model, revision)
        self._codes = _codes(self._tokenizer)
        if not self._codes:
            raise JobError(
                f"{model}: its tokenizer has no language codes; choose an NLLB-200 or M2M-100 model"
            )
        tokens = {code.token for code in self._codes.values()}
        self.size = max(len(self._tokenizer), *(token + 1 for token in tokens))
        self.longest = self._tokenizer.model_max_length
        self.pad, self.end = self._tokenizer.pad_token_id, self._tokenizer.eos_token_id
        self._special = tokens.union(self._tokenizer.all_special_ids)
        if self._tokenizer.is_fast:
            backend = self._tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            # What looks like a special token in a text is text.
            backend.encode_special_tokens = True

    def knows(self, language: Language) -> bool:
        """Whether the model has a code for a language in its script."""
        return language.code in self._codes

    def token(self, language: Language) -> int:
        """The id that stands for a language at the beginning of a translation."""
        return self._codes[language.code].token

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The sub-words of each text, no special ones among them."""
        clean = [" ".join(text.split()) for text in texts]
        if self._tokenizer.is_fast:
            backend = self._tokenizer.backend_tokenizer
            encodings = backend.encode_batch_fast(clean, add_special_tokens=False)
            return [encoding.ids for encoding in encodings]
        if not clean:
            return []
        ids: list[list[int]] = self._tokenizer(
            clean, add_special_tokens=False, split_special_tokens=True, verbose=False
        )["input_ids"]
        return ids

    def frame(self, ids: list[int], language: Language) -> list[int]:
        """The sub-words of a text as the model reads them, with its language and its end."""
        code = self._codes[language.code]
        return [*code.prefix, *ids, *code.suffix]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The text of each row of sub-words, without special ones."""
        plain = [[number for number in row if number not in self._special] for row in rows]
        if self._tokenizer.is_fast:
            texts = self._tokenizer.backend_tokenizer.decode_batch(plain)
        else:
            texts = [
                self._tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in plain
            ]
        return [text.strip() for text in texts]


def load_tokenizer(model: str, revision: str | None) -> PreTrainedTokenizerBase:
    """A checkpoint's tokenizer, fast if there is a fast one (M2M-100 has none).

    Raises JobError saying why it cannot be had.
    """
    folder = Path(model).expanduser()
    place = str(folder) if folder.is_dir() else model
    try:
        tokenizer = checkpoints.library().AutoTokenizer.from_pretrained(
            place, revision=revision, trust_remote_code=False
        )
    except JobError:
        raise
    # The tokenizers have exceptions of their own for broken files.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise JobError(f"{model}: its tokenizer cannot be loaded: {lines[0]}") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise JobError(
            f"{model}: its tokenizer has no vocabulary; add the missing file (tokenizer.json)"
        )
    return tokenizer


def _codes(tokenizer: Any) -> dict[str, Code]:
    """The tokenizer's languages, by FLORES-200 code."""
    if hasattr(tokenizer, "lang_code_to_id"):
        given = dict(tokenizer.lang_code_to_id)
    elif hasattr(tokenizer, "src_lang"):
        given = tokenizer.get_added_vocab()
    else:
        return {}
    found: dict[str, Code] = {}
    # NLLB-200's own codes first, lest another name of a language take its place.
    for name, token in sorted(given.items(), key=lambda item: len(item[0]), reverse=True):
        language = _language(name)
        if language and language.code not in found:
            tokenizer.src_lang = name
            frame = list(tokenizer.prefix_tokens), list(tokenizer.suffix_tokens)
            found[language.code] = Code(token, *frame)
    return found


def _language(code: str) -> Language | None:
    """The language of a model's code: `swh_Latn` (NLLB-200), `sw` (M2M-100), `sw_KE` (mBART-50)."""
    name = code[:2] if re.fullmatch("[a-z]{2}_[A-Z]{2}", code) else code
    try:
        return languages.find(_OTHER_NAMES.get(name, name))
    except JobError:
        return None
