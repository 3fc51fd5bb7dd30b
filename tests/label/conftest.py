"""Tiny taggers with random weights in the real formats, each with a tokenizer of its own kind."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

IOB2 = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
# Those of xlm-roberta-large-finetuned-conll03-english: most classes have no B.
CONLL03 = ["B-LOC", "B-MISC", "B-ORG", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O"]
IOBES = ["O", *(f"{prefix}-{label}" for label in ("PER", "LOC") for prefix in "BIES")]

LABELS = {"unigram": CONLL03, "wordpiece": IOB2, "bytes": IOBES, "deberta": IOB2}
KINDS = sorted(LABELS)

_NAMES = "Amina Okoye Nairobi Kigali Müller Łódź São Paulo Dodoma Juma Wangari N'Djamena"
_WORDS = (
    "the president of met in and said that a new hospital will open on Monday near market , . with "
    "twenty-five thousand people from parliament about water 2024 3,5 % U.S. it's « » 内罗毕 សួស្តី "
    "incomprehensibilities الرئيس ﬁnance"
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sentences() -> list[list[str]]:
    """Sentences of 0 to 60 words, some with words that no model sees."""
    chance = random.Random(7)
    lengths = [0, 1, 1, 60, *(chance.randint(2, 40) for _ in range(76))]
    words = [*_NAMES.split(), *_WORDS.split() * 2]
    made = [[chance.choice(words) for _ in range(length)] for length in lengths]
    made[5][1], made[6][0] = "\u200b", "\u200d"
    return made


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, sentences) -> dict[str, Path]:
    """A folder with a checkpoint of each kind."""
    texts = [" ".join(words) for words in sentences]
    made = {}
    for kind in KINDS:
        made[kind] = tmp_path_factory.mktemp(kind)
        _tokenizer(kind, texts).save_pretrained(made[kind])
        size = len(transformers.AutoTokenizer.from_pretrained(made[kind]))
        torch.manual_seed(3)
        model = transformers.AutoModelForTokenClassification.from_config(_config(kind, size))
        model.save_pretrained(made[kind])
    return made


@pytest.fixture(params=KINDS)
def checkpoint(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Path:
    return checkpoints[request.param]


@pytest.fixture
def copy_of(checkpoints: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a kind's checkpoint with changes in its `config.json`."""

    def copy(kind: str = "wordpiece", without: str = "", **changes: Any) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(checkpoints[kind], folder)
        if changes:
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, **changes}))
        for file in folder.glob(without) if without else []:
            file.unlink()
        return folder

    return copy


def _tokenizer(kind: str, texts: list[str]) -> Any:
    base = {
        "unigram": transformers.XLMRobertaTokenizer,
        "wordpiece": transformers.BertTokenizer,
        "bytes": transformers.RobertaTokenizer,
        "deberta": transformers.DebertaV2Tokenizer,
    }[kind]
    # Lower-casing tokenizers are trained only where the model is.
    options = {"do_lower_case": False} if kind == "wordpiece" else {}
    tokenizer = base(**options).train_new_from_iterator(texts, 300)
    tokenizer.model_max_length = 512
    return tokenizer


def _config(kind: str, vocabulary: int) -> Any:
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "id2label": dict(enumerate(LABELS[kind])),
        "label2id": {label: number for number, label in enumerate(LABELS[kind])},
        # Wide enough that predictions differ from word to word.
        "initializer_range": 0.2,
    }
    roberta = {"max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1}
    if kind == "unigram":
        return transformers.XLMRobertaConfig(**shape, **roberta)
    if kind == "bytes":
        return transformers.RobertaConfig(**shape, **roberta)
    if kind == "wordpiece":
        return transformers.BertConfig(**shape, max_position_embeddings=512)
    return transformers.DebertaV2Config(
        **shape,
        max_position_embeddings=512,
        relative_attention=True,
        position_buckets=32,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        type_vocab_size=0,
    )
