"""A small BERT in the formats that each peer reads, and real or made-up sentence pairs."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import SHARED

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")
transformers = pytest.importorskip("transformers", reason="needs the extra projner[models]")

Pair = tuple[list[str], list[str]]


@pytest.fixture(scope="session")
def pairs() -> list[Pair]:
    """200 sentence pairs: real ones where the developers' data is, made-up ones elsewhere."""
    folder = SHARED / "gold_alignments" / "awesome_align"
    if folder.is_dir():
        lines = [
            line
            for name in ("enfr", "roen")
            for line in (folder / f"{name}.src-tgt").read_text(encoding="utf-8").splitlines()[:100]
        ]
        sides = (line.split(" ||| ") for line in lines)
        return [(source.split(), target.split()) for source, target in sides]
    chance = random.Random(11)
    letters = "abcdefghijklmnoprstuvwz"
    words = ["".join(chance.choices(letters, k=chance.randint(1, 9))) for _ in range(400)]
    return [
        (
            chance.choices(words, k=chance.randint(1, 40)),
            chance.choices(words, k=chance.randint(1, 40)),
        )
        for _ in range(200)
    ]


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> Path:
    """A BERT of 4 layers with random weights and a vocabulary of the pairs' own."""
    folder = tmp_path_factory.mktemp("bert")
    words = Counter(word for pair in pairs for side in pair for word in side)
    letters = sorted({letter for word in words for letter in word})
    frequent = [word for word, _ in words.most_common(2000) if len(word) > 1]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *letters, *(f"##{letter}" for letter in letters), *frequent]
    vocabulary = list(dict.fromkeys(vocabulary))
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = transformers.BertTokenizer(
        vocab={piece: number for number, piece in enumerate(vocabulary)},
        do_lower_case=False,
        strip_accents=False,
    )
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        initializer_range=0.15,
    )
    model = transformers.BertForMaskedLM(config).eval()
    model.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder
