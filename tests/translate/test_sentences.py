from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projner.translate.sentences import split


@pytest.mark.parametrize(
    "sentences",
    [
        [],
        ["One"],
        ["He met Dr. Smith in St. Louis.", "Then he left."],
        ["J. K. Rowling paid 3.5 million.", "In 1999."],
        ["“Is it true?”", "“Yes!”", "(She laughed.)", 'He said "Never."', "They left..."],
        ["The U.S. Army came.", "Really?!", "Yes."],
        ["And... then he left.", "12 stayed."],
        ["क्या यह सच है?", "यह सच है।", "हाँ।"],
        ["እሱ መጣ።", "ያ ነው።"],
        ["هل هو هنا؟", "نعم."],
        ["သူ လာ သည်။", "ဟုတ်ကဲ့။"],
    ],
)
def test_sentences_end_where_they_should(sentences: list[str]) -> None:
    assert split(" ".join(sentences)) == sentences
    assert split("  \n".join(sentences)) == sentences


def test_chinese_puts_no_space_between() -> None:
    sentences = ["他来了。", "“他走了！”", "她说：「好。」", "是"]  # noqa: RUF001
    assert split("".join(sentences)) == sentences


@given(st.text("Ab .!?\"'(。”\n।", max_size=30))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    parts = split(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() for part in parts)
