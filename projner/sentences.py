"""Text to sentences, for any language.

`sentencex` (Wikimedia; MIT) finds where they end: rules for some forty languages, from which the
others inherit, with abbreviations, quotations, and the full stops of all scripts. Like it, we would
rather miss an end than make one up. To what it finds, this is added:

* A line ends a sentence.
* Khmer and Tibetan full stops end one, as do the two word spaces of Amharic and Tigrinya; the
  Burmese comma does not.
* A single capital letter, and a capital with consonants alone (`Dkt.`, `Alh.`), is an abbreviation
  in every language; a number or a letter that counts (`2.`, `(a)`) goes with what follows.

Thai and Lao mark no ends: there a line is a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

from projner.languages import Language, find

PIECE = 4000
"""Characters of a line that are looked at together; the library's time may grow with the square."""

_CLOSING = r"[\p{Pe}\p{Pf}\"']*+"
_LINE = regex.compile(r"[^\n\v\f\r\x1c-\x1e\x85\u2028\u2029]++")
_SPOKEN = regex.compile(r"[\p{L}\p{N}]")
_ALSO_END = regex.compile(
    "(?:"
    r"[\u17D4\u17D5]++(?!\u179B\u17D4)|"  # Khmer, but for the "etc."
    r"[\u0F0D-\u0F11\u0F14]++(?:(?:\s++[\u0F0D-\u0F11\u0F14]++)++|(?!\S))|"  # Tibetan
    r"\u1361\s?+\u1361|(?<=\p{Ethiopic}\s?)::"
    rf"){_CLOSING}"
)
# Searched from the end, for speed.
_NO_END = regex.compile(
    r"(?r)(?:"
    r"\u104A|"  # Burmese
    r"(?<![^\s.(])\p{Lu}[b-df-hj-np-tv-xz]{0,3}\.|"
    r"\A\s*+\(?(?:\p{N}{1,3}|\p{L})[.)]"
    r")\s*+\Z"
)
_FULL_STOP = rf"(?:\p{{Sentence_Terminal}}{_CLOSING}\s|[\u3002\uFF01\uFF1F\uFF61]{_CLOSING})"
# The last place in a piece, of the first kind that there is.
_CUTS = [regex.compile(f"(?r){pattern}") for pattern in (_FULL_STOP, r"\s")]


def split(text: str, language: Language | str) -> list[tuple[int, int]]:
    """The sentences of a text as character offsets (start, end exclusive).

    None is empty, and only white space lies outside of them.

    Args:
        text: any text.
        language: a `Language` or any name that `languages.find` knows.

    Raises:
        JobError: no such language.
    """
    if not isinstance(language, Language):
        language = find(language)
    code = language.iso639_1 or language.iso639_3
    spans: list[tuple[int, int]] = []
    for start, end in _pieces(text):
        spans += _sentences(text[start:end], start, code)
    return spans


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """The lines of a text; long ones in pieces that end where sentences do, else at white space."""
    for line in _LINE.finditer(text):
        start, end = line.span()
        while end - start > PIECE:
            last = start + PIECE
            found = (match for rule in _CUTS if (match := rule.search(text, start, last)))
            cut = next((match.end() for match in found), last)
            yield start, cut
            start = cut
        yield start, end


def _sentences(piece: str, offset: int, code: str) -> list[tuple[int, int]]:
    from sentencex import segment

    ends = {match.end() for match in _ALSO_END.finditer(piece)}
    end = 0
    for part in segment(code, piece):
        end += len(part)
        if not _NO_END.search(part):
            ends.add(end)
    spans: list[tuple[int, int]] = []
    start = 0
    for end in sorted({*ends, len(piece)}):
        part = piece[start:end]
        sentence = part.strip()
        is_mark = not _SPOKEN.search(sentence)
        if is_mark and not spans and end < len(piece):
            continue
        if sentence:
            first = offset + start + len(part) - len(part.lstrip())
            # What has no letters, such as a bracket that closes, goes with its neighbour.
            begin = spans.pop()[0] if is_mark and spans else first
            spans.append((begin, first + len(sentence)))
        start = end
    return spans
