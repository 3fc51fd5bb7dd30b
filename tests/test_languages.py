from __future__ import annotations

import dataclasses
import re

import pytest

from projner.errors import JobError
from projner.languages import Language, all_languages, find

PANX = """
    ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur
    fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et fi hu
"""
MASAKHANER2 = "bam bbj ewe fon hau ibo kin lug luo mos nya pcm sna swa tsn twi wol xho yor zul"


def test_the_table_has_flores_200_and_two_more() -> None:
    languages = all_languages()
    codes = [language.code for language in languages]
    assert len(codes) == len(set(codes)) == 206
    assert codes == sorted(codes)
    assert sum(language.in_flores for language in languages) == 204
    assert {language.code for language in languages if not language.in_flores} == {
        "bbj_Latn",
        "pcm_Latn",
    }


def test_nllb_codes_are_those_of_its_tokeniser() -> None:
    nllb = pytest.importorskip("transformers.models.nllb.tokenization_nllb")
    codes = {language.code for language in all_languages() if language.in_nllb}
    assert codes == set(nllb.FAIRSEQ_LANGUAGE_CODES)


def test_rows_are_well_formed() -> None:
    for language in all_languages():
        iso639_3, script = language.code.split("_")
        assert re.fullmatch("[a-z]{3}", iso639_3)
        assert iso639_3 == language.iso639_3
        assert re.fullmatch("[A-Z][a-z]{3}", language.script)
        assert script == language.script or language.code == "sat_Beng"
        assert language.iso639_1 is None or re.fullmatch("[a-z]{2}", language.iso639_1)
        assert language.words in {"spaced", "characters"}
        assert language.in_flores or not language.in_nllb
        texts = (language.name, *language.also)
        assert all(text and text == text.strip() for text in texts)


def test_benchmark_names_are_complete() -> None:
    languages = all_languages()
    assert sorted(language.panx for language in languages if language.panx) == sorted(PANX.split())
    assert sorted(x.masakhaner2 for x in languages if x.masakhaner2) == sorted(MASAKHANER2.split())


def test_every_own_name_leads_back() -> None:
    for language in all_languages():
        for name in (language.code, language.panx, language.masakhaner2, language.name):
            assert name is None or find(name) is language


def test_every_other_name_leads_back_unless_rows_share_it() -> None:
    owners: dict[str, set[Language]] = {}
    for language in all_languages():
        for name in (language.iso639_3, language.iso639_1, *language.also):
            if name:
                owners.setdefault(name, set()).add(language)
    benchmarks = {*PANX.split(), *MASAKHANER2.split()}
    for name, languages in owners.items():
        if len(languages) == 1 or name in benchmarks:
            assert find(name) in languages
        else:
            codes = ".*".join(sorted(language.code for language in languages))
            with pytest.raises(JobError, match=f"ambiguous language '{name}'.*{codes}"):
                find(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("swh_Latn", "swh_Latn"),
        ("SWH_latn", "swh_Latn"),
        (" swh-Latn ", "swh_Latn"),
        ("swh", "swh_Latn"),
        ("swa", "swh_Latn"),
        ("sw", "swh_Latn"),
        ("Swahili", "swh_Latn"),
        ("kiswahili", "swh_Latn"),
        ("ar", "arb_Arab"),
        ("ara", "arb_Arab"),
        ("fa", "pes_Arab"),
        ("Persian", "pes_Arab"),
        ("ms", "zsm_Latn"),
        ("tl", "tgl_Latn"),
        ("fil", "tgl_Latn"),
        ("et", "est_Latn"),
        ("jv", "jav_Latn"),
        ("my", "mya_Mymr"),
        ("ka", "kat_Geor"),
        ("kk", "kaz_Cyrl"),
        ("yo", "yor_Latn"),
        ("twi", "twi_Latn"),
        ("nya", "nya_Latn"),
        ("Chichewa", "nya_Latn"),
        ("bbj", "bbj_Latn"),
        ("Nigerian Pidgin", "pcm_Latn"),
        ("zh", "zho_Hans"),
        ("zh-Hant", "zho_Hant"),
        ("chinese (traditional)", "zho_Hant"),
        ("Cantonese", "yue_Hant"),
        ("Norwegian Bokmål", "nob_Latn"),
        ("sat_Olck", "sat_Beng"),
    ],
)
def test_find(name: str, code: str) -> None:
    assert find(name).code == code


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swh_Ltn", "unknown language 'swh_Ltn': did you mean 'swh_Latn'?"),
        ("swa_Latn", "unknown language 'swa_Latn': did you mean 'swh_Latn'?"),
        ("Swahilli", "unknown language 'Swahilli': did you mean 'swh_Latn'?"),
        ("zho_Hanz", "unknown language 'zho_Hanz': did you mean 'zho_Hans' or 'zho_Hant'?"),
        ("zho", "ambiguous language 'zho': choose 'zho_Hans' or 'zho_Hant'"),
        ("Chinese", "ambiguous language 'Chinese': choose 'zho_Hans' or 'zho_Hant'"),
        ("ace", "ambiguous language 'ace': choose 'ace_Arab' or 'ace_Latn'"),
        ("no", "ambiguous language 'no': choose 'nno_Latn' or 'nob_Latn'"),
        ("", "unknown language '': name it by its FLORES-200 code, such as 'swh_Latn'"),
        ("qqq", "unknown language 'qqq': name it by its FLORES-200 code, such as 'swh_Latn'"),
    ],
)
def test_find_says_what_is_wrong_and_the_mend(name: str, message: str) -> None:
    with pytest.raises(JobError) as error:
        find(name)
    assert str(error.value) == message


def test_right_to_left() -> None:
    assert {language.script for language in all_languages() if language.rtl} == {"Arab", "Hebr"}
    assert find("he").rtl
    assert not find("ace_Latn").rtl


def test_languages_without_spaces() -> None:
    codes = {language.code for language in all_languages() if language.words == "characters"}
    assert codes == {
        *("zho_Hans", "zho_Hant", "yue_Hant", "jpn_Jpan", "tha_Thai", "lao_Laoo", "khm_Khmr"),
        *("mya_Mymr", "shn_Mymr", "bod_Tibt", "dzo_Tibt"),
    }


def test_a_language_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        find("en").name = "French"  # type: ignore[misc]
