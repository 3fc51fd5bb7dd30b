"""Words in plain Latin letters: the form in which names of different scripts look alike."""

from __future__ import annotations

from functools import lru_cache

from anyascii import anyascii


@lru_cache(maxsize=1 << 18)
def romanise(word: str) -> str:
    """The letters and digits of a word: case folded, without diacritics, transliterated to a-z.

    Empty for punctuation. Vowels that a script does not write are not made up.
    """
    return "".join(filter(str.isalnum, anyascii(word.casefold()).lower()))
