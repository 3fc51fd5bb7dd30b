"""Tiny translators in the real formats, and sentences that they know."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("ctranslate2")

from projner.demo import translator  # noqa: E402

_PEOPLE = ["Amina Okoye", "John Smith", "Grace Wanjiku", "Juma Mushi", "Mary Brown", "Ruth Lawal"]
_PLACES = ["Nairobi", "Mombasa", "Kampala", "Kigali", "Lagos", "Accra", "Dodoma", "Kano"]
_DAYS = {"Monday": "Jumatatu", "Tuesday": "Jumanne", "Friday": "Ijumaa", "Sunday": "Jumapili"}
_DEEDS = {"visited": "alitembelea", "left": "aliondoka", "praised": "alisifu"}
_THINGS = {"the market": "soko", "the school": "shule", "a new hospital": "hospitali mpya"}
_FRAMES = [
    ("{p} {e} {x} in {c} on {d} .", "{p} {s} {y} huko {c} siku ya {w} ."),
    ("On {d} , {p} met {q} in {c} .", "Siku ya {w} , {p} alikutana na {q} mjini {c} ."),
    ("In {c} , {x} is closed , {p} said .", "Mjini {c} , {y} imefungwa , {p} alisema ."),
    ("{p} and {q} {e} {x} .", "{p} na {q} {s} {y} ."),
]


def _sentence(chance: random.Random) -> dict[str, str]:
    person, other = chance.sample(_PEOPLE, 2)
    (day, siku), (deed, tendo), (thing, kitu) = (
        chance.choice(sorted(words.items())) for words in (_DAYS, _DEEDS, _THINGS)
    )
    slots = {"p": person, "q": other, "c": chance.choice(_PLACES), "d": day, "w": siku}
    slots |= {"e": deed, "s": tendo, "x": thing, "y": kitu}
    english, swahili = chance.choice(_FRAMES)
    return {"eng_Latn": english.format(**slots), "swh_Latn": swahili.format(**slots)}


@pytest.fixture(scope="session")
def parallel() -> list[dict[str, str]]:
    """400 sentences by language; the first 100 are those that the model was trained on."""
    chance = random.Random(5)
    return [_sentence(chance) for _ in range(400)]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where conversions go."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJNER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def nllb(tmp_path_factory: pytest.TempPathFactory, parallel: list[dict[str, str]]) -> str:
    """A folder with a model shaped like NLLB-200 that knows English and Swahili a little."""
    folder = tmp_path_factory.mktemp("nllb")
    translator.train(parallel[:100], folder, steps=250, pieces=400)
    return str(folder)


@pytest.fixture(scope="session")
def m2m(tmp_path_factory: pytest.TempPathFactory, parallel: list[dict[str, str]]) -> str:
    """A folder with a model shaped like M2M-100, with random weights."""
    sentencepiece = pytest.importorskip("sentencepiece")
    work, folder = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("m2m")
    (work / "texts").write_text("\n".join(t for texts in parallel for t in texts.values()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(work / "texts"), model_prefix=str(work / "spm"), vocab_size=200,
        model_type="bpe", minloglevel=2,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(work / "spm.model"))
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    names += [pieces.id_to_piece(number) for number in range(3, pieces.get_piece_size())]
    (work / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    codes = transformers.models.m2m_100.tokenization_m2m_100.FAIRSEQ_LANGUAGE_CODES["m2m100"]
    tokenizer = transformers.M2M100Tokenizer(
        str(work / "vocab.json"),
        str(work / "spm.model"),
        # As in the published models' special_tokens_map.json.
        additional_special_tokens=[f"__{code}__" for code in codes],
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    transformers.M2M100ForConditionalGeneration(
        transformers.M2M100Config(
            vocab_size=len(names) + len(codes) + tokenizer.num_madeup_words,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            init_std=0.3,
        )
    ).save_pretrained(folder)
    return str(folder)
