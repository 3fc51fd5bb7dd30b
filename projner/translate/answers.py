# ruff: noqa: RUF001 (it is about quotation marks and Chinese)
"""What language models answer when they are asked for a translation: the translation, and chatter."""

from __future__ import annotations

import re

from projner.languages import Language

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"\A```[\w-]*\n(.*?)\n?```\Z", re.DOTALL)
_INTRODUCTION = re.compile(
    r"\A(?:sure|certainly|of course|okay|ok|here(?:'s|’s| is| are)|below is|the (?:following|translat)|"
    r"translat(?:ion|ed)|answer|output)\b[^\n]{0,120}?[:：](?:\s+|\Z)",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"\A\W{0,3}(?:(?:translator's |translation )?notes?|explanation|alternative(?:ly)?|literally|"
    r"pronunciation|breakdown|i hope|let me know|please (?:note|let)|if you)\b",
    re.IGNORECASE,
)
_QUOTES = {
    '"': '"',
    "“": "”",
    "„": "“",
    "«": "»",
    "‘": "’",
    "'": "'",
    "「": "」",
    "『": "』",
    "`": "`",
}
# What no translation says of itself, in whatever language.
_OF_ITSELF = re.compile(
    r"\b(?:as an? (?:ai|artificial intelligence|(?:large )?language model)|i(?:'m| am) (?:just )?an? (?:ai|"
    r"language model)|(?:can(?:no|['’])?t|cannot|can not|unable to|not able to|won['’]t|will not) "
    r"(?:provide|translat\w*|assist|help|fulfil+|comply|complete|process)\b|(?:against|violates?) (?:my|"
    r"the|our) (?:guidelines|polic(?:y|ies)|programming))",
    re.IGNORECASE,
)
_OF_A_MODEL = re.compile(r"\btranslat|language model|\bAI\b")
_APOLOGY = re.compile(
    r"\A\W*(?:i(?:'m| am|’m) (?:very |so |really )?(?:sorry|afraid)|i apologi[sz]e|sorry|unfortunately|"
    r"i can(?:no|['’])?t|i cannot|i do(?: not|n['’]t) (?:understand|know|speak)|no translation)\b",
    re.IGNORECASE,
)
_APOLOGY_IN_CHINESE = re.compile(
    r"\A\W*(?:很?抱歉|对不起|對不起|作为一个|作為一個).{0,40}(?:无法|無法|不能|模型)"
)


def clean(answer: str, text: str, target: Language) -> str:
    """The translation of a line of `text` in an answer, without the chatter around it, on one line.

    Thoughts, code fences, introductions (`Here is the translation:`), the target language's name
    before a colon, quotation marks around the whole that the text has not, notes after it; not what
    may be the translation of something in the text, such as a colon of its own. Of several
    paragraphs, the first that is none of these.
    """
    made = _THOUGHT.sub("", answer).strip()
    if fenced := _FENCE.match(made):
        made = fenced.group(1).strip()
    label = re.compile(rf"\A\W{{0,2}}{re.escape(target.name)}\W{{0,2}}[:：]\**\s*", re.IGNORECASE)
    for before in (_INTRODUCTION, label):
        shorter = before.sub("", made).strip()
        # A colon that the text has may be translated as one.
        if shorter and _colons(made) > _colons(text):
            made = shorter
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", made) if part.strip()]
    lines = paragraphs[0].splitlines() if paragraphs else []
    kept = [lines[0]] if lines else []
    for line in lines[1:]:
        if _NOTE.match(line) and not _NOTE.match(text):
            break
        kept.append(line)
    return _unquoted(" ".join(" ".join(kept).split()), text.strip())


def refusal(answer: str, text: str, target: Language) -> str | None:
    """Why an answer is no translation of `text` but says that there will be none, or None.

    An apology in a language that was not asked for is one. Into English, whose texts apologise too,
    only what speaks of translating or of the model is, and a text that says such things itself is
    never refused.
    """
    made = _THOUGHT.sub("", answer).strip()
    if _APOLOGY.match(text) or _OF_ITSELF.search(text):
        return None
    if target.iso639_3 == "eng":
        refuses = bool(_APOLOGY.match(made)) and bool(_OF_A_MODEL.search(made))
    else:
        refuses = bool(_APOLOGY.match(made) or _OF_ITSELF.search(made))
        refuses |= target.iso639_3 != "zho" and bool(_APOLOGY_IN_CHINESE.match(made))
    if not refuses:
        return None
    brief = " ".join(made.split())
    return f"the model answered otherwise: {brief if len(brief) <= 80 else f'{brief[:77]}...'}"


def _colons(text: str) -> int:
    return text.count(":") + text.count("：")


def _unquoted(made: str, text: str) -> str:
    for opening, closing in _QUOTES.items():
        whole = len(made) > 2 and made[0] == opening and made[-1] == closing
        if whole and closing not in made[1:-1] and text[:1] not in _QUOTES:
            return made[1:-1].strip()
    return made
