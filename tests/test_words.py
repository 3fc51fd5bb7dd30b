# ruff: noqa: RUF001 (letters that look like other letters are what this is about)
from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from projner.errors import JobError
from projner.languages import Language, all_languages, find
from projner.words import SplitRule, join, offsets, split, words

# Words are parted by | in the tables, so that a word with a space would show.
SENTENCES = [
    ("eng_Latn", "Obama's plan won't cost $3,500.", "Obama|'s|plan|won't|cost|$|3,500|."),
    ("eng_Latn", "It’s Jean-Luc (U.S.)", "It|’s|Jean|-|Luc|(|U.S|.|)"),
    ("eng_Latn", "'Players' 5' rock'n'roll", "'|Players|'|5|'|rock'n'roll"),
    ("eng_Latn", "the Queen 's speech", "the|Queen|'s|speech"),
    ("fra_Latn", "L'Italie et la Côte d’Ivoire", "L'|Italie|et|la|Côte|d’|Ivoire"),
    ("fra_Latn", "Aujourd'hui qu'il boit l' eau\u202f!", "Aujourd'hui|qu'|il|boit|l'|eau|!"),
    ("fra_Latn", "vitamine 'C'.", "vitamine|'|C|'|."),
    ("ita_Latn", "dell'Aquila un po' all’ONU", "dell'|Aquila|un|po|'|all’|ONU"),
    ("cat_Latn", "l'Hospitalet", "l'|Hospitalet"),
    ("deu_Latn", "Straßenbahn, 3,5 Mio. €", "Straßenbahn|,|3,5|Mio|.|€"),
    ("bam_Latn", "n'a ka Kunnafonidi", "n'a|ka|Kunnafonidi"),
    ("hau_Latn", "ma'aikatar ɗan", "ma'aikatar|ɗan"),
    ("yor_Latn", "Abẹ́rẹ́ tó Ọ̀túnba", "Abẹ́rẹ́|tó|Ọ̀túnba"),
    ("tur_Latn", "Ankara'da İstanbul", "Ankara'da|İstanbul"),
    ("ukr_Cyrl", "П'ять, комп’ютер.", "П'ять|,|комп’ютер|."),
    ("ell_Grek", "Η Αθήνα; Ναι.", "Η|Αθήνα|;|Ναι|."),
    ("heb_Hebr", 'צה"ל בת"א.', 'צה"ל|בת"א|.'),
    ("arb_Arab", "\u200fمرحباً، ٣٫٥ مليون\u202c؟", "مرحباً|،|٣٫٥|مليون|؟"),
    ("pes_Arab", "می\u200cخواهم بروم.", "می\u200cخواهم|بروم|."),
    ("hin_Deva", "क्षत्रिय दिल्ली में हैं।", "क्षत्रिय|दिल्ली|में|हैं|।"),
    ("ben_Beng", "ঢাকা, বাংলাদেশ।", "ঢাকা|,|বাংলাদেশ|।"),
    ("mal_Mlym", "അവന്\u200d വന്നു.", "അവന്\u200d|വന്നു|."),
    ("amh_Ethi", "አዲስ አበባ፣ ኢትዮጵያ።", "አዲስ|አበባ|፣|ኢትዮጵያ|።"),
    ("kor_Hang", "김대중은 서울에서, 2000년", "김대중은|서울에서|,|2000년"),
    ("kat_Geor", "თბილისი, საქართველო", "თბილისი|,|საქართველო"),
    ("zho_Hans", "他在New York花了3,500元。", "他|在|New|York|花|了|3,500|元|。"),
    ("yue_Hant", "𠮷野家㗎", "𠮷|野|家|㗎"),
    ("jpn_Jpan", "カーターはiPhoneを買った。", "カ|ー|タ|ー|は|iPhone|を|買|っ|た|。"),
    ("jpn_Jpan", "か\u3099くせい", "か\u3099|く|せ|い"),
    ("tha_Thai", "น้ำใจของ Google ปี๒๕๖๓", "น้ำ|ใ|จ|ข|อ|ง|Google|ปี|๒๕๖๓"),
    ("lao_Laoo", "ນ້ຳຂອງ", "ນ້ຳ|ຂ|ອ|ງ"),
    ("khm_Khmr", "ស្ត្រីខ្មែរ\u200bនៅ ១២។", "ស្ត្រី|ខ្មែ|រ|នៅ|១២|។"),
    ("mya_Mymr", "သတ္တဝါ ၁၉၄၈။", "သ|တ္တ|ဝါ|၁၉၄၈|။"),
    ("bod_Tibt", "བོད་སྐད་ཡིན། ༡༩༥༠ལོ", "བོད་|སྐད་|ཡིན|།|༡༩༥༠|ལོ"),
    ("eng_Latn", "Peking 北京 or ประเทศ", "Peking|北|京|or|ป|ร|ะ|เ|ท|ศ"),
    (
        "eng_Latn",
        "👨\u200d👩\u200d👧 🇫🇷🇩🇪 ❤\ufe0f 👍🏽 1\ufe0f⃣",
        "👨\u200d👩\u200d👧|🇫🇷|🇩🇪|❤\ufe0f|👍🏽|1\ufe0f⃣",
    ),
    ("eng_Latn", "a\xa0b\u3000c\u2028d\x00e\u200bf\ufeff", "a|b|c|d|e|f"),
    ("eng_Latn", "\ufeffx\xad y\xadz \u200c \ufe0f \u2066w\u2069", "x|y\xadz|w"),
]

DICTIONARY = [
    ("zho_Hans", "我爱北京天安门。", "我|爱|北京|天安门|。"),
    ("jpn_Jpan", "𠮷野家は日本の会社", "𠮷|野家|は|日本|の|会社"),
    ("jpn_Jpan", "カーター元大統領が2019年", "カーター|元|大統領|が|2019|年"),
    ("tha_Thai", "ประเทศไทยมี Google", "ประเทศไทย|มี|Google"),
    ("khm_Khmr", "ប្រទេសកម្ពុជា", "ប្រទេស|កម្ពុជា"),
    ("lao_Laoo", "ປະເທດລາວ", "ປະເທດ|ລາວ"),
    ("mya_Mymr", "မြန်မာနိုင်ငံ၏မြို့တော်", "မြန်မာနိုင်ငံ|၏|မြို့တော်"),
    ("swh_Latn", "Rais wa 中国", "Rais|wa|中国"),
]

PIECES = [
    *("a", "é", "e\u0301", "B", "s", "l", "qu", "ß", "ж", "ש", "ع", "क्ष", "हि", "ƙ", "3", "٣", "๓"),
    *("'", "’", '"', ".", ",", "-", "_", ":", "$", "%", "།", "。", "؟", "་"),
    *("漢", "𠮷", "か", "カ", "ー", "น้ำ", "เ", "ລ", "ស្ត្រី", "တ္တ", "ဝါ", "སྐ", "한"),
    *("👨\u200d👩\u200d👧", "🇫🇷", "🇫", "👍🏽", "❤\ufe0f", "\u0301", "\u3099", "\u1039"),
    *(" ", "  ", "\n", "\xa0", "\u202f", "\u3000", "\x00", "\x85"),
    *("\u200b", "\u200c", "\u200d", "\u200f", "\u202b", "\u2060", "\ufeff", "\xad", "\ufe0f"),
]
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
LANGUAGES = st.sampled_from(all_languages())
SPACED = st.sampled_from([x for x in all_languages() if x.words == "spaced"])
NOT_LOST = regex.compile(r"[^\s\p{Cc}\p{Default_Ignorable_Code_Point}]")


@pytest.mark.parametrize(("code", "text", "expected"), SENTENCES)
def test_words_of_real_sentences(code: str, text: str, expected: str) -> None:
    assert "|".join(words(text, code)) == expected


@pytest.mark.parametrize(("code", "text", "expected"), DICTIONARY)
def test_words_by_the_dictionary(code: str, text: str, expected: str) -> None:
    pytest.importorskip("icu4py")
    assert "|".join(words(text, code, "dictionary")) == expected


@pytest.mark.parametrize("text", ["", " ", "\t\n\u200b\u200f\ufeff\xa0"])
def test_nothing_to_see_is_no_words(text: str) -> None:
    assert split(text, "eng_Latn") == split(text, "zho_Hans") == []


def test_a_language_goes_by_any_of_its_names() -> None:
    text = "Côte d'Ivoire"
    assert split(text, "fr") == split(text, find("fra_Latn")) == [(0, 4), (5, 7), (7, 13)]
    with pytest.raises(JobError, match="unknown language"):
        split(text, "frr_Latn")


def check_words(text: str, spans: list[tuple[int, int]]) -> None:
    """In order, apart, never empty, and all that can be seen is in one of them."""
    end = 0
    for start, stop in [*spans, (len(text), len(text) + 1)]:
        assert end <= start < stop
        assert not NOT_LOST.search(text, end, start)
        end = stop
    for start, stop in spans:
        word = text[start:stop]
        assert NOT_LOST.match(word)
        assert not regex.search(r"[\s\p{Cc}\u200B]", word)
        assert not regex.search(r"[\p{Bidi_Control}\uFEFF\u2060\u00AD]$", word)


@given(TEXTS, LANGUAGES)
def test_words_are_substrings_that_lose_nothing(text: str, language: Language) -> None:
    spans = split(text, language)
    check_words(text, spans)
    assert offsets(text, words(text, language)) == spans


@given(TEXTS, st.sampled_from(["jpn_Jpan", "tha_Thai", "khm_Khmr", "mya_Mymr", "eng_Latn"]))
def test_dictionary_words_are_joined_clusters(text: str, code: str) -> None:
    pytest.importorskip("icu4py")
    spans = split(text, code, "dictionary")
    check_words(text, spans)
    fine = split(text, code)
    assert {start for start, _ in spans} <= {start for start, _ in fine}
    assert {end for _, end in spans} <= {end for _, end in fine}


@given(TEXTS, SPACED)
def test_splitting_words_again_changes_nothing(text: str, language: Language) -> None:
    once = words(text, language)
    assert words(" ".join(once), language) == once


@given(TEXTS, LANGUAGES)
def test_marks_stay_with_their_base(text: str, language: Language) -> None:
    for start, _ in split(text, language):
        if start and unicodedata.category(text[start]) in {"Mn", "Me"}:
            assert not NOT_LOST.match(text[start - 1])


SIGNS = [
    *(
        "a",
        "é",
        "a\u0301",
        "a\u200da",
        "a\u200fa",
        "B",
        "ж",
        "ש",
        "ع",
        "क\u093f",
        "\u0301",
        "3",
        "٣",
    ),
    *("ꞌ", "ʼ", "👍🏽", "🏽", "🇫🇷", *"'’\".,:;-_$%!/ "),
]


@given(st.lists(st.sampled_from(SIGNS), max_size=20).map("".join))
@example("ש'🏽")
def test_spaced_scripts_follow_unicode_word_boundaries(text: str) -> None:
    """ICU is the oracle."""
    breakers = pytest.importorskip("icu4py.breakers")
    pieces = [piece.strip(" ") for piece in breakers.WordBreaker(text, "und")]
    assert words(text, "swh_Latn") == [piece for piece in pieces if piece]


def test_tagged_corpora_are_never_split_across_their_words(shared_data: Path) -> None:
    """Words of our own may be finer than a corpus', never coarser: entities stay spans of words."""
    for path in sorted((shared_data / "masakhaner2").glob("*/dev.txt")):
        for sentence in path.read_text(encoding="utf-8").split("\n\n")[:200]:
            tokens = [line.split(" ")[0] for line in sentence.splitlines() if line]
            text = join(tokens, path.parent.name)
            assert offsets(text, tokens)
            starts = {start for start, _ in split(text, path.parent.name)}
            assert starts >= {s for s, _ in offsets(text, tokens) if NOT_LOST.match(text[s])}


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("", [], []),
        ("a a a", ["a", "a"], [(0, 1), (2, 3)]),
        ("New York", ["New York"], [(0, 8)]),
        ("北京", ["北", "京"], [(0, 1), (1, 2)]),
    ],
)
def test_offsets(text: str, tokens: list[str], expected: list[tuple[int, int]]) -> None:
    assert offsets(text, tokens) == expected


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["b", "a"], "token 1, 'a', is not in the text from character 5"),
        (["a", "a", "a"], "token 2, 'a', is not in the text from character 3"),
        ([""], "token 0, '', is not in the text from character 0"),
    ],
)
def test_offsets_names_the_token_that_is_not_there(tokens: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        offsets("a a b", tokens)


@pytest.mark.parametrize(
    ("code", "tokens", "expected"),
    [
        ("swh_Latn", ["Rais", "wa", "Kenya", "."], "Rais wa Kenya ."),
        ("zho_Hans", ["他", "在", "New", "York", "，", "3", "元"], "他在New York，3元"),
        ("zho_Hans", ["2", "0", "0", "8", "年", "i", "P", "o", "d"], "2008年iPod"),
        ("jpn_Jpan", ["iPhone", "4", "を"], "iPhone 4を"),
        ("bod_Tibt", ["བོད་", "ཡིན", "།"], "བོད་ཡིན།"),
        ("tha_Thai", [], ""),
    ],
)
def test_join(code: str, tokens: list[str], expected: str) -> None:
    assert join(tokens, code) == expected


@given(st.lists(st.text(min_size=1), max_size=8), LANGUAGES)
def test_joined_words_are_found_in_order(tokens: list[str], language: Language) -> None:
    assert len(offsets(join(tokens, language), tokens)) == len(tokens)


@pytest.mark.parametrize("code", ["shn_Mymr", "bod_Tibt", "dzo_Tibt"])
def test_no_dictionary_for_some(code: str) -> None:
    with pytest.raises(JobError, match=r"there is no dictionary of .* use the rule 'characters'"):
        split("x", code, "dictionary")


def test_a_missing_dictionary_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    rule: SplitRule = "dictionary"
    assert words("Rais wa Kenya", "swh_Latn", rule) == ["Rais", "wa", "Kenya"]
    with pytest.raises(JobError, match=r"projner\[icu\]"):
        split("北京", "zho_Hans", rule)
