from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from projner.checkpoints import load_tokenizer
from projner.subwords import Frame, encode, grid

STRANGE = [
    "",
    " ",
    "\u200b",
    "\u200d",
    "\u00ad",
    "a b",
    "U.S.",
    "x" * 300,
    "内罗毕",
    "ﬁ",
    "é",
    "e\u0301",
]


def test_words_get_the_sub_words_that_transformers_gives_them(checkpoint, sentences):
    tokenizer = load_tokenizer(str(checkpoint))
    for words in [*sentences, STRANGE]:
        encoding = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
        ids = np.array(encoding["input_ids"], int)
        word_ids = np.array(encoding.word_ids(), int)
        found = encode(pa.array(words, pa.string()), tokenizer.backend_tokenizer, limit=512)
        assert found.ids.tolist() == ids.tolist()
        assert found.sizes.tolist() == np.bincount(word_ids, minlength=len(words)).tolist()


def test_a_word_without_end_is_cut(checkpoint):
    tokenizer = load_tokenizer(str(checkpoint)).backend_tokenizer
    words = pa.array(["market", "incomprehensibilities" * 4, "market"])
    whole, cut = encode(words, tokenizer, limit=512), encode(words, tokenizer, limit=3)
    assert cut.sizes.tolist() == np.minimum(whole.sizes, 3).tolist()
    assert cut.ids[: cut.sizes[0]].tolist() == whole.ids[: cut.sizes[0]].tolist()
    assert len(cut.ids) == cut.sizes.sum()


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
    st.lists(st.integers(90, 99), max_size=2),
    st.lists(st.integers(80, 89), max_size=2),
)
def test_grid_equals_a_loop_over_rows(lengths, prefix, suffix):
    ids = np.arange(sum(lengths)) + 1
    rows = grid(ids, np.array(lengths), Frame(tuple(prefix), tuple(suffix), pad=0))
    rest = ids.tolist()
    for row, length in zip(rows.tolist(), lengths, strict=True):
        content, rest = rest[:length], rest[length:]
        padding = [0] * (max(lengths) - length)
        assert row == [*prefix, *content, *suffix, *padding]
