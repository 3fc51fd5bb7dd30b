"""Word links against awesome-align and SimAlign themselves: same weights, same sentences, every link."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")
simalign = pytest.importorskip("simalign", reason="needs the extra projner[peers]")
pytest.importorskip("awesome_align", reason="needs the extra projner[peers]")

from awesome_align import modeling as awesome_modeling  # noqa: E402
from awesome_align.configuration_bert import BertConfig  # noqa: E402
from awesome_align.tokenization_bert import BertTokenizer  # noqa: E402

from projner import config, record  # noqa: E402
from projner.align.encoder import EncoderAligner  # noqa: E402
from tests.peers.conftest import Pair  # noqa: E402

LAYER = 3


def ours(bert: Path, pairs: list[Pair], **settings: Any) -> list[set[tuple[int, int]]]:
    import pyarrow as pa

    rows = [
        {
            "source_lang": "eng_Latn",
            "target_lang": "fra_Latn",
            "source_tokens": source,
            "target_tokens": target,
        }
        for source, target in pairs
    ]
    table = pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))
    section = config.Encoder(engine="encoder", model=str(bert), layer=LAYER, **settings)
    aligner = EncoderAligner(section)
    aligner.setup(cpus=1)
    links = aligner(table)["links"].to_pylist()
    return [{(link["source"], link["target"]) for link in row} for row in links]


@pytest.mark.parametrize("extraction", ["softmax", "entmax"])
def test_every_link_is_awesome_aligns(bert: Path, pairs: list[Pair], extraction: str) -> None:
    tokenizer = BertTokenizer.from_pretrained(str(bert), do_lower_case=False)
    awesome_modeling.PAD_ID = tokenizer.pad_token_id
    awesome_modeling.CLS_ID = tokenizer.cls_token_id
    awesome_modeling.SEP_ID = tokenizer.sep_token_id
    model = awesome_modeling.BertForMaskedLM.from_pretrained(
        str(bert), config=BertConfig.from_pretrained(str(bert))
    ).eval()

    def side(words: list[str]) -> tuple[Any, list[int]]:
        pieces = [tokenizer.tokenize(word) for word in words]
        ids = [tokenizer.convert_tokens_to_ids(word) for word in pieces]
        flat = [tokenizer.cls_token_id, *chain.from_iterable(ids), tokenizer.sep_token_id]
        owners = [number for number, word in enumerate(pieces) for _ in word]
        return torch.tensor([flat]), owners

    theirs = []
    for source, target in pairs:
        (source_ids, source_words), (target_ids, target_words) = side(source), side(target)
        links = model.get_aligned_word(
            source_ids, target_ids, [source_words], [target_words], "cpu", 0, 0,
            align_layer=LAYER, extraction=extraction, test=True,
        )  # fmt: skip
        theirs.append(links[0])
    assert ours(bert, pairs, method=extraction) == theirs


@pytest.mark.parametrize("unit", ["subword", "word"])
def test_every_link_is_simaligns(bert: Path, pairs: list[Pair], unit: str) -> None:
    aligner = simalign.SentenceAligner(
        model=str(bert),
        token_type={"subword": "bpe", "word": "word"}[unit],
        matching_methods="mai",
        layer=LAYER,
    )
    theirs = [aligner.get_word_aligns(*pair) for pair in pairs]
    for method, name in (("argmax", "inter"), ("itermax", "itermax"), ("match", "mwmf")):
        expected = [set(links[name]) for links in theirs]
        assert ours(bert, pairs, method=method, unit=unit) == expected, method
