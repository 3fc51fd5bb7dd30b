"""Where sentences end, by a rule for all scripts."""

from __future__ import annotations

import regex

_CLOSING = r"[\p{Pe}\p{Pf}]*+"
# "Dr." and "J." end no sentence: initials, and capitalised words of up to three letters.
_ABBREVIATED = r"(?<!\b\p{Lu}\p{L}{0,2}\.)"
_SPACED = rf"\p{{Sentence_Terminal}}++{_ABBREVIATED}[\"']*+{_CLOSING}[\"']*+(?=\s++[^\s\p{{Ll}}])"
# Chinese and Japanese put no space behind a full stop.
_UNSPACED = rf"[\u3002\uFF01\uFF1F\uFF61]++{_CLOSING}(?=\S)"
_END = regex.compile(rf"(?V1)(?:{_SPACED}|{_UNSPACED})")


def split(text: str) -> list[str]:
    """The sentences of a text, without the white space around them.

    A sentence ends at terminal punctuation, and the quotes and brackets it closes, when white space
    and something other than a small letter follow. It is better to miss an end than to make one up:
    the rule is for texts that are too long for a model.
    """
    ends = [match.end() for match in _END.finditer(text)]
    parts = (text[a:b].strip() for a, b in zip([0, *ends], [*ends, len(text)], strict=True))
    return [part for part in parts if part]
