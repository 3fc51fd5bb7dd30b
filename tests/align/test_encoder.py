"""The encoder aligner as a stage: batches, long sentences, odd words, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")
transformers = pytest.importorskip("transformers", reason="needs the extra projner[models]")

from projner import config, devices, record  # noqa: E402
from projner.align.encoder import EncoderAligner  # noqa: E402
from projner.align.fuse import FusedAligner  # noqa: E402
from projner.align.surface import SurfaceAligner  # noqa: E402
from projner.errors import JobError  # noqa: E402

WORDS = [
    "amina",
    "musa",
    "kano",
    "lagos",
    "water",
    "river",
    "came",
    "went",
    "saw",
    "with",
    "and",
    "the",
    "in",
    "of",
]
POSITIONS = 40


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights that knows `WORDS` and single letters."""
    folder = tmp_path_factory.mktemp("bert")
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
    pieces += [f"##{letter}" for letter in letters]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = transformers.BertTokenizer(vocab=vocabulary)
    tokenizer.model_max_length = POSITIONS
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    settings = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        initializer_range=0.2,
    )
    transformers.BertModel(settings).save_pretrained(folder)
    return folder


def table(pairs: list[tuple[list[str], list[str]]]) -> pa.Table:
    rows = [
        {
            "source_lang": "eng_Latn",
            "target_lang": "hau_Latn",
            "source_tokens": source,
            "target_tokens": target,
        }
        for source, target in pairs
    ]
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def links(model: Path, pairs: list[tuple[list[str], list[str]]], **settings: Any) -> list[dict]:
    section = config.Encoder(engine="encoder", model=str(model), layer=2, **settings)
    aligner = EncoderAligner(section)
    aligner.setup(cpus=1)
    done = aligner(table(pairs))
    assert done["links"].type == record.COLUMNS["links"]
    rows = done["links"].to_pylist()
    return [{(link["source"], link["target"]): link["score"] for link in row} for row in rows]


def some_pairs(count: int, longest: int) -> list[tuple[list[str], list[str]]]:
    chance = np.random.default_rng(3)
    lengths = chance.integers(1, longest, (count, 2))
    return [
        (chance.choice(WORDS, n).tolist(), chance.choice(WORDS, m).tolist()) for n, m in lengths
    ]


@pytest.mark.parametrize("method", ["softmax", "itermax"])
@pytest.mark.parametrize("unit", ["subword", "word"])
def test_a_batch_is_its_pairs_one_by_one(bert: Path, method: str, unit: str) -> None:
    pairs = some_pairs(40, 20)
    together = links(bert, pairs, method=method, unit=unit, batch_tokens=150)
    alone = [links(bert, [pair], method=method, unit=unit)[0] for pair in pairs]
    assert [set(row) for row in together] == [set(row) for row in alone]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_sentences_longer_than_the_model_are_aligned_to_their_end(bert: Path) -> None:
    long = [WORDS[i % len(WORDS)] for i in range(3 * POSITIONS)]
    (found,) = links(bert, [(long, long)], method="argmax")
    assert {source for source, _ in found} & set(range(2 * POSITIONS, 3 * POSITIONS))
    exact = [pair for pair in found if long[pair[0]] == long[pair[1]]]
    assert len(exact) > 0.9 * len(found)


def test_scores_are_shares_and_words_without_pieces_have_no_links(bert: Path) -> None:
    rows = links(bert, [(["amina", "\u200b", "kano"], ["kano", "amina"]), (["the"], ["\u200b"])])
    assert all(0 < score <= 1 for row in rows for score in row.values())
    assert all(source != 1 for source, _ in rows[0])
    assert rows[1] == {}


def test_a_translation_models_encoder_is_read_with_each_language(tmp_path: Path) -> None:
    demo = pytest.importorskip("projner.demo.translator")
    texts = ["amina came to kano", "musa saw the river", "water in lagos", "the river of kano"]
    parallel = [{"eng_Latn": text, "hau_Latn": text[::-1]} for text in texts]
    demo.train(parallel, tmp_path, steps=1, pieces=60)
    found = links(tmp_path, [(["amina", "came"], ["onak", "emac"])] * 3)
    assert found[0] == pytest.approx(found[2], abs=1e-6)
    assert found[0]


def test_a_layer_that_the_model_lacks_is_refused(bert: Path) -> None:
    section = config.Encoder(engine="encoder", model=str(bert), layer=7)
    with pytest.raises(JobError, match=r"has 3 layers; set align.layer to one of 0..3"):
        EncoderAligner(section).setup()


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    section = config.Encoder(engine="encoder", model=str(tmp_path / "none"))
    with pytest.raises(JobError, match="no such folder"):
        EncoderAligner(section).setup()


def test_what_auto_means_is_settled_once(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligner = EncoderAligner(config.Encoder(engine="encoder", model=str(bert), layer=2))
    fused = FusedAligner([aligner, SurfaceAligner(0.65)])
    assert aligner.settings()["dtype"] == "float32"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(devices, "choose_dtype", lambda asked, device: torch.bfloat16)
        resolved, together = aligner.resolved(), fused.resolved()
    assert resolved.settings()["dtype"] == "bfloat16"
    assert together.settings()["encoder.1"] == resolved.settings()
    assert together.settings()["surface.1"] == fused.settings()["surface.1"]
