"""Which language a text is in, by libraries that are extras, imported where they are chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from projner import config
from projner.errors import JobError
from projner.languages import Language

# An ISO code says nothing of the script, and stands for the other one of these languages.
_RARER_SCRIPT = frozenset(
    {
        "ace_Arab",
        "arb_Latn",
        "bjn_Arab",
        "kas_Deva",
        "knc_Arab",
        "min_Arab",
        "taq_Tfng",
    }
)
# Where it has a code of its own; `ku` is Kurmanji.
_OWN_CODE = frozenset({"ckb_Arab"})


@dataclass(frozen=True)
class Identifier:
    """A loaded engine."""

    labels: frozenset[str]
    """Its names of the languages that it can tell."""
    scores: Callable[[str], dict[str, float]]
    """Probability of each label, best first, given a text; of none where it finds no clue."""


@cache
def load(chosen: config.Identify) -> Identifier:
    """The engine, loaded once in a process.

    Raises JobError where it is not installed, or its model cannot be loaded.
    """
    return _py3langid() if isinstance(chosen, config.Py3langid) else _fasttext(chosen.model)


def identity(chosen: config.Identify) -> str:
    """What tells an engine's results from another's: its release, or a digest of its model."""
    if isinstance(chosen, config.Py3langid):
        return f"py3langid {metadata.version('py3langid')}"
    digest = hashlib.sha256()
    with open(_file(chosen.model), "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()[:16]}"


def check(chosen: config.Identify, language: Language, key: str) -> None:
    """Raise JobError, about a `key` of the job file, where an engine cannot tell a language."""
    if label_of(language, load(chosen).labels) is None:
        raise JobError(
            f"{key}: {chosen.engine} cannot tell {language.name} ({language.code}); leave it out, or "
            "give a fastText model that can"
        )


def doubt(chosen: config.Identify, language: Language, text: str) -> str | None:
    """How little a text looks like a language, `is swh_Latn with probability 0.02, and en with 0.91`;
    None where it does as much as is asked for. The engine can tell the language."""
    engine = load(chosen)
    label = label_of(language, engine.labels)
    scores = engine.scores(text)
    score = scores.get(label or "", 0.0)
    if score >= chosen.min_score:
        return None
    best = next(iter(scores), None)
    looks = f", and {best} with {scores[best]:.2f}" if best not in (None, label) else ""
    return f"is {language.code} with probability {score:.2f}{looks}"


def label_of(language: Language, labels: Iterable[str]) -> str | None:
    """The name that an engine has for a language; None where it has none."""
    known = set(labels)
    names: list[str | None] = [language.code]
    if language.code not in _RARER_SCRIPT:
        names.append(language.iso639_3)
        if language.code not in _OWN_CODE:
            names += [language.iso639_1, *language.also]
    return next((name for name in names if name in known), None)


def _py3langid() -> Identifier:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise _not_installed("py3langid") from None
    loaded = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return Identifier(frozenset(loaded.labels), lambda text: dict(loaded.rank(text)))


def _fasttext(model: str) -> Identifier:
    try:
        import fasttext
    except ImportError:
        raise _not_installed("fasttext-predict") from None
    path = _file(model)
    try:
        loaded = fasttext.load_model(str(path))
        loaded.predict("a")
    except ValueError as error:
        raise JobError(f"{model}: is no fastText classifier ({error})") from None

    def scores(text: str) -> dict[str, float]:
        labels, probabilities = loaded.predict(" ".join(text.split()), k=-1)
        names = (label.removeprefix("__label__") for label in labels)
        return dict(zip(names, probabilities, strict=True))

    # There is no way to list the labels; any text gets them all.
    return Identifier(frozenset(scores("a")), scores)


def _file(model: str) -> Path:
    path = Path(model).expanduser()
    if not path.is_file():
        raise JobError(f"{model}: no such file; give a fastText model under filter.language.model")
    return path


def _not_installed(package: str) -> JobError:
    return JobError(f"filter.language needs {package}; pip install 'projner[langid]'")
