# ruff: noqa: RUF001 (some of it is Chinese)
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner import languages
from projner.translate import answers

SWAHILI, ENGLISH = languages.find("swh_Latn"), languages.find("eng_Latn")
CHINESE = languages.find("zho_Hans")


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("Ada alikutana na Roma .", "Ada alikutana na Roma ."),
        ("  Ada alikutana \n na Roma .\n", "Ada alikutana na Roma ."),
        ("<think>\nHm: Ada?\n</think>\n\nAda alikutana .", "Ada alikutana ."),
        ("<think>It never ends", ""),
        ("```\nAda alikutana .\n```", "Ada alikutana ."),
        ("Here is the translation: Ada alikutana .", "Ada alikutana ."),
        ("Sure! Here is the Swahili translation:\n\nAda alikutana .", "Ada alikutana ."),
        ("Translation:\nAda alikutana .", "Ada alikutana ."),
        ("Swahili: Ada alikutana .", "Ada alikutana ."),
        ("**Swahili:** Ada alikutana .", "Ada alikutana ."),
        ("Here is it: Swahili: Ada alikutana .", "Ada alikutana ."),
        ('"Ada alikutana ."', "Ada alikutana ."),
        ("“Ada alikutana .”", "Ada alikutana ."),
        ('"Ada" alikutana "Roma"', '"Ada" alikutana "Roma"'),
        ("Ada alikutana .\n\nNote: Ada is a name.", "Ada alikutana ."),
        ("Ada alikutana .\nNote: Ada is a name.", "Ada alikutana ."),
        ("Ada alikutana .\n(Literally: Ada met.)", "Ada alikutana ."),
        ("<a>Ada</a> alikutana na <b>Roma</b> .", "<a>Ada</a> alikutana na <b>Roma</b> ."),
        ("[ Ada ] alikutana .", "[ Ada ] alikutana ."),
        ("Translation:", "Translation:"),
        ("", ""),
    ],
)
def test_chatter_goes(answer: str, kept: str) -> None:
    assert answers.clean(answer, "Ada met Rome .", SWAHILI) == kept


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('"Njoo", alisema .', '"Come"'),
        ("Jibu : ndiyo .", "Answer: yes ."),
        ("Kiswahili : lugha", "English: a language"),
        ("Note: bora", "Note: better"),
    ],
)
def test_what_the_text_has_stays(text: str, answer: str) -> None:
    assert answers.clean(answer, text, ENGLISH) == answer


@given(st.text(st.characters(categories=["Lu", "Ll", "Nd", "Zs", "Po"]), max_size=60))
def test_a_clean_answer_is_one_line_of_the_answer(answer: str) -> None:
    made = answers.clean(answer, "x", SWAHILI)
    assert made == " ".join(made.split())
    assert made in " ".join(answer.split())


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("I'm sorry, but I can't assist with that.", SWAHILI),
        ("I cannot translate this text.", SWAHILI),
        ("As an AI language model, I do not know Swahili.", SWAHILI),
        ("Unfortunately this is no sentence.", SWAHILI),
        ("<think>No.</think>Sorry, no.", SWAHILI),
        ("抱歉，我无法翻译这段文字。", SWAHILI),
        ("I'm sorry, I can't translate that.", ENGLISH),
        ("I cannot provide that, for it violates my guidelines.", CHINESE),
    ],
)
def test_a_refusal_is_told(answer: str, target: languages.Language) -> None:
    found = answers.refusal(answer, "Ada alikutana .", target)
    assert found is not None
    assert found.startswith("the model answered otherwise: ")


@pytest.mark.parametrize(
    ("answer", "text", "target"),
    [
        ("Ada alikutana na Roma .", "Ada met Rome .", SWAHILI),
        ("I'm sorry, I can't come .", "Samahani , siwezi kuja .", ENGLISH),
        ("I cannot help him .", "Siwezi kumsaidia .", ENGLISH),
        ("Sorry Sorry ni wimbo .", "Sorry Sorry is a song .", SWAHILI),
        ("抱歉，我不能来。", "He said that he cannot come .", CHINESE),
    ],
)
def test_a_translation_is_no_refusal(answer: str, text: str, target: languages.Language) -> None:
    assert answers.refusal(answer, text, target) is None
