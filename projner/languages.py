"""The languages: one table of every FLORES-200 code and of the other names it goes by.

The rows are the 204 of FLORES-200 and the two languages of MasakhaNER 2.0 that it lacks, with codes
made in its manner: `bbj_Latn` and `pcm_Latn`. NLLB-200 translates all but these two, `arb_Latn` and
`min_Arab`. Santali goes by `sat_Beng`, the code in NLLB-200's vocabulary, though both have it in Ol
Chiki script; newer lists call it `sat_Olck`, and so may you.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, cast

from projner.errors import JobError

WordRule = Literal["spaced", "characters"]


@dataclass(frozen=True)
class Language:
    """One language in one script.

    Attributes:
        code: FLORES-200 code, such as `swh_Latn`.
        name: English name.
        iso639_3: the first part of the code.
        iso639_1: where there is one, be it that of the macrolanguage (`ar` for `arb_Arab`).
        script: ISO 15924.
        panx: name in PAN-X (WikiANN), where it is one of XTREME's forty.
        masakhaner2: name in MasakhaNER 2.0, where it is one of its twenty.
        words: whether spaces part the words, or a word is a character (see `projner.words`).
        in_flores: a language of FLORES-200.
        in_nllb: in NLLB-200's vocabulary, under `code`.
        also: macrolanguage codes and other common names.
    """

    code: str
    name: str
    iso639_3: str
    iso639_1: str | None
    script: str
    panx: str | None
    masakhaner2: str | None
    words: WordRule
    in_flores: bool
    in_nllb: bool
    also: tuple[str, ...] = ()

    @property
    def rtl(self) -> bool:
        """Written from right to left."""
        return self.script in {"Arab", "Hebr"}


@cache
def all_languages() -> tuple[Language, ...]:
    """Every language, in the order of the codes."""
    table = resources.files("projner").joinpath("languages.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(
        Language(
            code=row["code"],
            name=row["name"],
            iso639_3=row["code"].partition("_")[0],
            iso639_1=row["iso639_1"] or None,
            script=row["script"],
            panx=row["panx"] or None,
            masakhaner2=row["masakhaner2"] or None,
            words=cast(WordRule, row["words"]),
            in_flores=row["flores"] == "yes",
            in_nllb=row["nllb"] == "yes",
            also=tuple(row["also"].split(", ")) if row["also"] else (),
        )
        for row in rows
    )


@cache
def find(name: str) -> Language:
    """The language of this name: a code, a benchmark's name for it, an English name; in any case.

    A FLORES-200 code comes first, then PAN-X's and MasakhaNER 2.0's names (so `zh` is `zho_Hans`),
    then ISO 639 codes and the rest, where they belong to one row.

    Raises:
        JobError: no language has this name, or several have.
    """
    key = _key(name)
    for names in _index():
        found = names.get(key, ())
        if len(found) == 1:
            return found[0]
        if found:
            raise JobError(f"ambiguous language {name!r}: choose {_choice(found)}")
    raise JobError(f"unknown language {name!r}: {_advice(key)}")


def _key(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


@cache
def _index() -> tuple[dict[str, tuple[Language, ...]], ...]:
    """Languages by key, in three ranks of names: the first that knows a key decides."""
    ranks: tuple[dict[str, tuple[Language, ...]], ...] = ({}, {}, {})
    for language in all_languages():
        names: tuple[list[str | None], ...] = (
            [language.code],
            [language.panx, language.masakhaner2],
            [language.iso639_3, language.iso639_1, language.name, *language.also],
        )
        for rank, given in zip(ranks, names, strict=True):
            for key in {_key(name) for name in given if name}:
                rank[key] = (*rank.get(key, ()), language)
    return ranks


def _advice(key: str) -> str:
    """What the user may have meant: another code of the same language, else a name spelt alike."""
    index = _index()
    stem = key.partition("_")[0]
    near = [language for names in index for language in names.get(stem, ())]
    if not near:
        known = [key for names in index for key in names]
        close = difflib.get_close_matches(key, known, n=3, cutoff=0.8)
        near = [language for match in close for names in index for language in names.get(match, ())]
    if not near:
        return "name it by its FLORES-200 code, such as 'swh_Latn'"
    return f"did you mean {_choice(near)}?"


def _choice(languages: Iterable[Language]) -> str:
    """`'a', 'b' or 'c'`, each code once."""
    *first, last = dict.fromkeys(repr(language.code) for language in languages)
    return f"{', '.join(first)} or {last}" if first else last
