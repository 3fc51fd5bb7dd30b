"""What language models are asked, by their kind: the wording that each was trained with.

TranslateGemma: its chat template has the words, and wants codes. Tower: arXiv 2402.17733. Hy-MT: arXiv
2512.24092. Others are asked plainly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from projner.config import LanguageModel, PromptName
from projner.languages import Language
from projner.translate.markers import Kind, around

Messages = list[dict[str, Any]]

_NAMED = {
    "tower": (
        "Translate the following text from {source} into {target}.{keep}\n{source}: {text}\n{target}:"
    ),
    "hy-mt": (
        "Translate the following segment into {target}, without additional explanation.{keep}\n\n{text}"
    ),
    "qwen": (
        "Translate the following text from {source} into {target}.{keep} Only output the translation, "
        "without any explanation.\n\n{text}"
    ),
    "general": (
        "Translate the following {source} text into {target}.{keep} Reply with the translation and "
        "nothing else.\n\n{text}"
    ),
    # Where no chat template says it.
    "translategemma": (
        "You are a professional {source} ({source_code}) to {target} ({target_code}) translator. Your "
        "goal is to accurately convey the meaning and nuances of the original {source} text while "
        "adhering to {target} grammar, vocabulary, and cultural sensitivities.\nProduce only the "
        "{target} translation, without any additional explanations or commentary. Please translate the "
        "following {source} text into {target}:{keep}\n\n\n{text}"
    ),
}
_KINDS = (
    ("translategemma", re.compile(r"translate.?gemma")),
    ("tower", re.compile(r"tower")),
    ("hy-mt", re.compile(r"(hy|hunyuan).?mt")),
    ("qwen", re.compile(r"qwen")),
)
_ARCHITECTURES = (("hy-mt", "hunyuan"), ("qwen", "qwen"))
_KEEP: dict[Kind, str] = {
    "xml": " Keep each tag, such as <a> and </a>, around the translation of the words that it encloses.",
    "brackets": " Keep the square brackets around the translation of the words that they enclose.",
}
_REGIONS = {"Hans": "zh-Hans", "Hant": "zh-Hant"}


class Asked(NamedTuple):
    """Texts and the languages that they are translated from and into."""

    source: Language
    target: Language
    keep: str = ""
    """What is said of markers."""


def name_of(config: LanguageModel) -> PromptName | None:
    """The kind of prompt of a model; None for one of the user's own.

    `auto` goes by the model's name, and else by the architecture in a folder's config.json.
    """
    if config.prompt not in get_args(PromptName):
        return None
    if config.prompt != "auto":
        return cast(PromptName, config.prompt)
    name = Path(config.model).name.lower()
    found = next((kind for kind, pattern in _KINDS if pattern.search(name)), None)
    if found is None:
        model_type = _model_type(config.model)
        found = next((kind for kind, sign in _ARCHITECTURES if sign in model_type), "general")
    return cast(PromptName, found)


def wording(config: LanguageModel) -> str:
    """The prompt as it is written, fields and all; part of what decides a run's results."""
    name = name_of(config)
    return config.prompt if name is None else _NAMED[name]


def messages(config: LanguageModel, asked: Asked, text: str) -> Messages:
    """The chat that asks a model for a translation of `text`."""
    if name_of(config) != "translategemma" or asked.keep:
        return [{"role": "user", "content": plain(config, asked, text)}]
    content = {
        "type": "text",
        "source_lang_code": code(asked.source),
        "target_lang_code": code(asked.target),
        "text": text,
    }
    return [{"role": "user", "content": [content]}]


def plain(config: LanguageModel, asked: Asked, text: str) -> str:
    """The prompt for `text`, which may hold braces of its own."""
    return wording(config).format(
        text=text,
        source=asked.source.name,
        target=asked.target.name,
        source_code=code(asked.source),
        target_code=code(asked.target),
        keep=asked.keep,
    )


def code(language: Language) -> str:
    """A language's shortest ISO 639 code, with the script for Chinese, which is written in two."""
    return _REGIONS.get(language.script) or language.iso639_1 or language.iso639_3


def has_markers(text: str, kind: Kind) -> bool:
    """Whether a text may have markers of a kind in it."""
    opening, _ = around(kind)
    return opening.strip() in text


def keep(kind: Kind) -> str:
    """What is asked about markers of a kind."""
    return _KEEP[kind]


def without_specials(specials: list[str]) -> Callable[[str], str]:
    """Makes a text in which nothing is one of a tokenizer's special tokens, such as `<|im_end|>`.

    What ends a turn would else end it in the midst of a text that mentions it.
    """
    known = sorted((each for each in specials if len(each) > 1), key=len, reverse=True)
    if not known:
        return str
    pattern = re.compile("|".join(map(re.escape, known)))

    def apart(found: re.Match[str]) -> str:
        return f"{found.group()[0]} {found.group()[1:]}"

    return lambda text: pattern.sub(apart, text)


def _model_type(model: str) -> str:
    try:
        config = json.loads((Path(model).expanduser() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(config.get("model_type", ""))
