# ruff: noqa: RUF001 (the marks of many scripts are what this is about)
"""Sentences in many languages and scripts. In the tables they are parted by |."""

from __future__ import annotations

from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from projner import sentences
from projner.errors import JobError
from projner.languages import all_languages, find

# The first article of the Universal Declaration of Human Rights.
DECLARATION = [
    (
        "eng_Latn",
        "All human beings are born free and equal in dignity and rights. |They are endowed with "
        "reason and conscience and should act towards one another in a spirit of brotherhood.",
    ),
    (
        "fra_Latn",
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. |Ils sont doués "
        "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
        "fraternité.",
    ),
    (
        "swh_Latn",
        "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa. |Wote wamejaliwa akili na dhamiri, "
        "hivyo yapasa watendeane kindugu.",
    ),
    (
        "yor_Latn",
        "Gbogbo ènìyàn ni a bí ní òmìnira; iyì àti ẹ̀tọ́ kọ̀ọ̀kan sì dọ́gba. |Wọ́n ní ẹ̀bùn làákàyè àti "
        "ti ẹ̀rí-ọkàn, ó sì yẹ kí wọn ó máa hùwà sí ara wọn gẹ́gẹ́ bí ọmọ ìyá.",
    ),
    (
        "hau_Latn",
        "Su dai ƴan'adam, ana haifuwarsu ne duka ƴantattu, kuma kowannensu na da mutunci da "
        "hakkoki daidai da na kowa. |Suna da hankali da tunani.",
    ),
    (
        "rus_Cyrl",
        "Все люди рождаются свободными и равными в своем достоинстве и правах. |Они наделены "
        "разумом и совестью и должны поступать в отношении друг друга в духе братства.",
    ),
    (
        "ell_Grek",
        "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. "
        "|Είναι προικισμένοι με λογική και συνείδηση.",
    ),
    (
        "hye_Armn",
        "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու իրավունքներով։ |Նրանք "
        "ունեն բանականություն ու խիղճ և միմյանց պետք է եղբայրաբար վերաբերվեն։",
    ),
    (
        "arb_Arab",
        "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. |وقد وهبوا عقلا وضميرا وعليهم أن يعامل "
        "بعضهم بعضا بروح الإخاء.",
    ),
    (
        "urd_Arab",
        "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔ |انہیں ضمیر اور عقل "
        "ودیعت ہوئی ہے۔ |اس لئے انہیں ایک دوسرے کے ساتھ بھائی چارے کا سلوک کرنا چاہیے۔",
    ),
    (
        "hin_Deva",
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। |उन्हें बुद्धि और "
        "अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।",
    ),
    (
        "ben_Beng",
        "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে। |তাঁদের বিবেক এবং বুদ্ধি আছে; "
        "সুতরাং সকলেরই একে অপরের প্রতি ভ্রাতৃত্বসুলভ মনোভাব নিয়ে আচরণ করা উচিত।",
    ),
    (
        "amh_Ethi",
        "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው። |የተፈጥሮ ማስተዋልና ሕሊና ስላለው አንዱ ሌላውን "
        "በወንድማማችነት መንፈስ መመልከት ይገባዋል።",
    ),
    (
        "zho_Hans",
        "人人生而自由，在尊严和权利上一律平等。|他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    ),
    (
        "jpn_Jpan",
        "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
        "|人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    ),
    (
        "kor_Hang",
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. |인간은 "
        "천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
    ),
    (
        "mya_Mymr",
        "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း၊ တူညီလွတ်လပ်သော အခွင့်အရေးများဖြင့် လည်းကောင်း၊ "
        "မွေးဖွားလာသူများ ဖြစ်သည်။ |ထိုသူတို့၌ ပိုင်းခြား ဝေဖန်တတ်သော ဉာဏ်ရှိကြ၏။",
    ),
    (
        "khm_Khmr",
        "មនុស្សទាំងអស់កើតមកមានសេរីភាព និងសមភាពក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។ "
        "|មនុស្សមានវិចារណញ្ញាណនិងសតិសម្បជញ្ញៈជាប់ពីកំណើត។",
    ),
    (
        "tha_Thai",
        "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม",
    ),
]
DETAILS = [
    ("eng_Latn", "Dr. Smith left on Jan. 5. |He paid $3.50! |Why?"),
    ("eng_Latn", 'J. R. R. Tolkien said: "I am here. I stay." |See https://a.b/c.html.'),
    ("eng_Latn", "2. The second. |(b) Another one."),
    ("eng_Latn", "He left ... |OK ...\n|...\n|then\r\n|he came\u2028|back"),
    ("fra_Latn", "M. Dupont a 3,5 euros ! |« Pourquoi ? » demanda-t-elle."),
    ("deu_Latn", "Am 5. Januar kam Dr. Müller, z.B. mit 3.000 Euro. |„Warum?“"),
    ("swh_Latn", "Dkt. Kikwete na Bw. Biya walikuja. |Je, unajua?"),
    ("hau_Latn", "Alh. Lai Mohammed ya tafi. |Ina yake?"),
    ("amh_Ethi", "አዲስ አበባ ዋና ከተማ ናት፡፡ |እሺ፧ |ደህና፡ ፡ |ነው::"),
    ("khm_Khmr", "ខ្ញុំមានឆ្កែ ឆ្មា ។ល។ |ខ្ញុំរីករាយ៕"),
    ("bod_Tibt", "༄༅། །བོད་ཡིག་ནི་ཡག་པོ་རེད། །|ཁྱེད་རང་གི་མིང་ལ་ག་རེ་ཟེར་གྱི་ཡོད།"),
    ("zho_Hans", "他说：“好的。”|然后走了！|真的吗？"),
    ("jpn_Jpan", "「はい。」|終わり！"),
    ("sat_Beng", "ᱤᱧ ᱪᱟᱞᱟᱜ ᱠᱟᱱᱟ᱾ |ᱟᱢ ᱫᱚ᱿"),
    ("pan_Guru", "ਮੈਂ ਘਰ ਜਾਂਦਾ ਹਾਂ। |ਤੁਸੀਂ ਕਿੱਥੇ ਹੋ?"),
    ("mni_Beng", "ঐ চৎলি। |নঙ করি?"),
]


@pytest.mark.parametrize(("code", "marked"), DECLARATION + DETAILS)
def test_sentences(code: str, marked: str) -> None:
    text = marked.replace("|", "")
    found = [text[start:end] for start, end in sentences.split(text, code)]
    assert found == [part.strip() for part in marked.split("|")]


@pytest.mark.parametrize("text", ["", " ", "\n\n \t\u00a0\u2028\r\n"])
def test_white_space_has_no_sentences(text: str) -> None:
    assert sentences.split(text, "eng_Latn") == []


@pytest.mark.parametrize("text", ["...", "\n--- \n", "(", "“”"])
def test_what_has_only_marks_is_one_sentence(text: str) -> None:
    assert [text[start:end] for start, end in sentences.split(text, "eng_Latn")] == [text.strip()]


CODES = st.sampled_from([language.code for language in all_languages()])
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from(".!?。།።፡។\u104a\"'“”«»()1aA \n\r\u2028\u200b\u00a0")
)


@given(text=TEXTS, code=CODES, piece=st.sampled_from([3, 10, 4000]))
def test_nothing_but_white_space_is_lost(text: str, code: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "PIECE", piece)
        spans = sentences.split(text, code)
    end = 0
    for start, stop in spans:
        assert not text[end:start].strip()
        assert start < stop
        assert text[start:stop] == text[start:stop].strip()
        # No line goes on in another sentence than it began in.
        assert text[start:stop].splitlines() == [text[start:stop]]
        end = stop
    assert not text[end:].strip()


@given(text=TEXTS, other=TEXTS, code=CODES)
def test_a_line_is_split_for_itself(text: str, other: str, code: str) -> None:
    after = len(text) + 1
    later = [(start + after, end + after) for start, end in sentences.split(other, code)]
    assert sentences.split(f"{text}\n{other}", code) == sentences.split(text, code) + later


@pytest.mark.parametrize(
    ("unit", "longest"),
    [("Hii ni sentensi. ", 16), ("你好。", 3), ("neno ", sentences.PIECE), ("“", sentences.PIECE)],
)
def test_an_endless_line_is_cut(unit: str, longest: int) -> None:
    text = unit * (20_000 // len(unit))
    spans = sentences.split(text, "swh_Latn")
    assert max(end - start for start, end in spans) <= longest
    assert "".join(text[start:end] for start, end in spans).replace(" ", "") == text.replace(
        " ", ""
    )


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(JobError, match="unknown language 'tlh'"):
        sentences.split("nuqneH", "tlh")


@pytest.mark.parametrize(
    ("file", "language", "recall", "precision"),
    [
        ("lafand/en-swa/train.en", "eng_Latn", 0.95, 0.92),
        ("lafand/en-swa/train.swa", "swh_Latn", 0.95, 0.92),
        ("lafand/en-yor/train.yor", "yor_Latn", 0.95, 0.90),
        # Its lines often hold several sentences.
        ("lafand/en-hau/train.hau", "hau_Latn", 0.98, 0.85),
    ],
)
def test_lines_of_news_are_found_again(
    shared_data: Path, file: str, language: str, recall: float, precision: float
) -> None:
    lines = [" ".join(line.split()) for line in (shared_data / file).read_text().split("\n")]
    lines = [line for line in lines if line][:3000]
    hits = found_ends = wanted_ends = 0
    for first in range(0, len(lines), 5):
        text, wanted, allowed = "", set(), set()
        for line in lines[first : first + 5]:
            text = f"{text} {line}".strip()
            allowed.add(len(text))
            if regex.search(r"[.!?…][\"'”’»)]*$", line):
                wanted.add(len(text))
        ends = {end for _, end in sentences.split(text, find(language))} - {len(text)}
        wanted.discard(len(text))
        hits += len(wanted & ends)
        wanted_ends += len(wanted)
        found_ends += len(wanted & ends) + len(ends - allowed)
    assert hits >= recall * wanted_ends
    assert hits >= precision * found_ends
