"""Text to words and back.

Words are in-order substrings of the text, so that character offsets follow from them. Between words
nothing is lost but white space, control characters and characters that nobody sees (Unicode's
`Default_Ignorable_Code_Point`: zero-width spaces, bidirectional marks, byte order marks).

Words end at Unicode's word boundaries (UAX #29): punctuation is apart; `3,5`, `don't`, a base with
its combining marks and an emoji sequence stay whole. To this, three things are added, each because
an entity begins and ends where a word does:

* Scripts that put no spaces between words (Han, kana, Thai, Lao, Khmer, Burmese) are split into
  grapheme clusters, or by a dictionary on request, in a text of any language; Latin words and
  numbers among them stay whole. Tibetan script is split into syllables, each with its tsheg.
* Elided articles and prepositions (`l'`, `dell'`) are words in French, Occitan, Catalan, Italian.
* The English `'s` is a word, as in CoNLL-2003 and the treebanks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Literal

import regex

from projner.errors import JobError
from projner.languages import Language, find

SplitRule = Literal["characters", "dictionary"]

_SEEN = r"(?![\s\p{Cc}\p{Default_Ignorable_Code_Point}])"
_APOSTROPHE = r"['\u2019]"

# In the classes of UAX #29, whose rule 4 says that marks and format characters never part a word:
# _MARKS where the word may end (on no format character), _GLUE where it has to go on.
_MARKS = r"[\p{WB=Extend}\p{WB=ZWJ}]*+"
_GLUE = r"[\p{WB=Extend}\p{WB=ZWJ}\p{WB=Format}]*+"
_LETTER = r"[\p{WB=ALetter}\p{WB=Hebrew_Letter}--\p{Tibetan}]"
_AFTER_HEBREW = r"(?<=\p{WB=Hebrew_Letter}[\p{WB=Extend}\p{WB=ZWJ}]*)"
_IN_WORD = r"[\p{WB=MidLetter}\p{WB=MidNumLet}\p{WB=Single_Quote}]"
_IN_NUMBER = r"[\p{WB=MidNum}\p{WB=MidNumLet}\p{WB=Single_Quote}]"

_SYLLABLE = r"(?:(?=\p{Tibetan})[\p{L}\p{M}])++[\u0F0B\u0F0C]?+\p{M}*+"
# \X leaves out some Burmese vowel signs and, before Unicode 17, parts stacks of consonants.
_STACKED = r"(?<=[\u1039\u17D2])(?=[\p{L}&&[\p{Khmer}\p{Myanmar}]])\X\p{M}*+"
_CLUSTER = rf"\X\p{{M}}*+(?:{_STACKED})*+"

_CLUSTERED = r"[\p{Han}\p{Hiragana}\p{Katakana}ーｰ\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_UNSPACED_RUN = rf"(?P<unspaced>(?:(?=[\p{{L}}&&{_CLUSTERED}]){_CLUSTER})++)"
_DICTIONARIES = frozenset({"jpn", "khm", "lao", "mya", "tha", "yue", "zho"})
# The ends of two tokens that would run together.
_CLASH = regex.compile(rf"(?V1)[\w--{_CLUSTERED}--\p{{Tibetan}}]{{2}}")

_FRENCH = r"[cdjlmnst]|(?:jus|lors|puis|quoi)?qu"
_ITALIAN = r"[cdlmnstv]|gl|un|quest|(?:d?a|co|de|ne|que|su)?ll"
_ELIDED = {"fra": _FRENCH, "oci": _FRENCH, "cat": _FRENCH, "ita": _ITALIAN}
_ENCLITIC = {"eng": "s"}


def split(
    text: str, language: Language | str, rule: SplitRule = "characters"
) -> list[tuple[int, int]]:
    """The words of a text as character offsets (start, end exclusive).

    Args:
        text: any text.
        language: a `Language` or any name that `languages.find` knows.
        rule: how text in scripts without spaces is split: into grapheme clusters, or by ICU's
            dictionaries (Chinese, Japanese, Thai, Lao, Khmer and Burmese; the extra `icu`).

    Raises:
        JobError: no such language, or no dictionary for it, or the extra is not installed.
    """
    if not isinstance(language, Language):
        language = find(language)
    if rule == "characters":
        return [match.span() for match in _pattern(language.iso639_3).finditer(text)]
    if language.words == "characters" and language.iso639_3 not in _DICTIONARIES:
        raise JobError(
            f"there is no dictionary of {language.name} words: use the rule 'characters'"
        )
    spans: list[tuple[int, int]] = []
    for match in _pattern(language.iso639_3, _UNSPACED_RUN).finditer(text):
        if match.lastgroup:
            spans += _dictionary_words(match.group(), match.start())
        else:
            spans.append(match.span())
    return spans


def words(text: str, language: Language | str, rule: SplitRule = "characters") -> list[str]:
    """The words of a text; see `split`."""
    return [text[start:end] for start, end in split(text, language, rule)]


def offsets(text: str, tokens: Iterable[str]) -> list[tuple[int, int]]:
    """Where tokens, in order, stand in a text: (start, end exclusive) each.

    Raises:
        ValueError: a token is empty, or is not in what is left of the text.
    """
    spans: list[tuple[int, int]] = []
    end = 0
    for position, token in enumerate(tokens):
        start = text.find(token, end) if token else -1
        if start < 0:
            raise ValueError(
                f"token {position}, {token!r}, is not in the text from character {end}"
            )
        end = start + len(token)
        spans.append((start, end))
    return spans


def join(tokens: Sequence[str], language: Language | str) -> str:
    """A text with these words, as the language writes it; `offsets` finds each of them there.

    Where spaces part words, one goes between any two, even before punctuation. Elsewhere one goes
    only between two Latin words or numbers; but single letters and digits in a row are taken for
    one word, as corpora have them that split every character.
    """
    if not isinstance(language, Language):
        language = find(language)
    if language.words == "spaced":
        return " ".join(tokens)
    text = "".join(tokens[:1])
    for left, right in itertools.pairwise(tokens):
        clash = len(left + right) > 2 and _CLASH.fullmatch(left[-1:] + right[:1])
        text += f" {right}" if clash else right
    return text


@cache
def _pattern(iso639_3: str, *first: str) -> regex.Pattern[str]:
    """Matches one word after the other; the alternatives `first` are tried first."""
    alternatives = [*first, _SYLLABLE]
    in_word = rf"(?:{_IN_WORD}|{_AFTER_HEBREW}\"(?={_GLUE}\p{{WB=Hebrew_Letter}}))"
    if elided := _ELIDED.get(iso639_3):
        alternatives.append(rf"(?i:{elided}){_APOSTROPHE}(?=\s*+[\p{{L}}\p{{N}}])")
    if enclitic := _ENCLITIC.get(iso639_3):
        enclitic = rf"{_APOSTROPHE}(?i:{enclitic})(?![\p{{WB=Extend}}\p{{WB=ZWJ}}]|{_GLUE}\w)"
        alternatives.append(enclitic)
        in_word = rf"(?!{enclitic}){in_word}"
    letters = rf"{_LETTER}{_MARKS}(?:{_GLUE}(?:{in_word}{_GLUE})?{_LETTER}{_MARKS})*+"
    number = rf"\p{{WB=Numeric}}{_MARKS}"
    numbers = rf"{number}(?:{_GLUE}(?:{_IN_NUMBER}{_GLUE})?{number})*+"
    low_line = rf"(?!\s)\p{{WB=ExtendNumLet}}{_MARKS}"
    part = rf"(?:{letters}|{numbers}|{low_line})"
    # A geresh ends an abbreviation in Hebrew, and belongs to it.
    alternatives.append(rf"{part}(?:{_GLUE}{part})*+(?:{_AFTER_HEBREW}'{_MARKS})?+")
    alternatives.append(_CLUSTER)
    return regex.compile(f"(?V1){_SEEN}(?:{'|'.join(alternatives)})")


def _dictionary_words(run: str, offset: int) -> Iterator[tuple[int, int]]:
    """Character offsets of the words that ICU finds in a run of unspaced script."""
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise JobError("the rule 'dictionary' needs icu4py: pip install 'projner[icu]'") from error
    # By its strings, not `segments()`, whose offsets count UTF-16 units.
    ends = set(itertools.accumulate(len(word) for word in WordBreaker(run, "und")))
    start = 0
    for cluster in regex.finditer(f"(?V1){_CLUSTER}", run):
        # ICU may end a word inside a stack of consonants.
        if cluster.end() in ends:
            yield offset + start, offset + cluster.end()
            start = cluster.end()
