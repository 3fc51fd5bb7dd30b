"""Word links against awesome-align and SimAlign themselves: same weights, same sentences, every link."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")
simalign = pytest.importorskip("simalign", reason="needs the extra projner[peers]")
pytest.importorskip("awesome_align", reason="needs the extra projner[peers]")

from awesome_align import modeling as awesome_modeling  # noqa: E402
from awesome_align import run_train  # noqa: E402
from awesome_align.configuration_bert import BertConfig  # noqa: E402
from awesome_align.tokenization_bert import BertTokenizer  # noqa: E402

from projner import config, record  # noqa: E402
from projner.align import objectives  # noqa: E402
from projner.align.awesome import AwesomeAligner  # noqa: E402
from projner.align.encoder import EncoderAligner  # noqa: E402
from tests.peers.conftest import Pair  # noqa: E402

LAYER = 3


def rows_of(pairs: list[Pair]) -> pa.Table:
    rows = [
        {
            "source_lang": "eng_Latn",
            "target_lang": "fra_Latn",
            "source_tokens": source,
            "target_tokens": target,
            "status": "ok",
            "status_detail": None,
        }
        for source, target in pairs
    ]
    return pa.Table.from_pylist(rows, schema=record.schema(list(rows[0])))


def ours(
    bert: Path, pairs: list[Pair], package: bool = False, **settings: Any
) -> list[set[tuple[int, int]]]:
    common = {"model": str(bert), "layer": LAYER, **settings}
    aligner: EncoderAligner | AwesomeAligner
    if package:
        aligner = AwesomeAligner(config.AwesomeAlign(engine="awesome-align", **common))
    else:
        aligner = EncoderAligner(config.Encoder(engine="encoder", **common))
    aligner.setup(cpus=1)
    links = aligner(rows_of(pairs))["links"].to_pylist()
    return [{(link["source"], link["target"]) for link in row} for row in links]


def theirs(bert: Path, pairs: list[Pair], extraction: str) -> list[set[tuple[int, int]]]:
    """The links of the package, called as its own command calls it, pair by pair."""
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

    found = []
    for source, target in pairs:
        (source_ids, source_words), (target_ids, target_words) = side(source), side(target)
        links = model.get_aligned_word(
            source_ids, target_ids, [source_words], [target_words], "cpu", 0, 0,
            align_layer=LAYER, extraction=extraction, test=True,
        )  # fmt: skip
        found.append(links[0])
    return found


@pytest.mark.parametrize("extraction", ["softmax", "entmax"])
def test_every_link_is_awesome_aligns(bert: Path, pairs: list[Pair], extraction: str) -> None:
    expected = theirs(bert, pairs, extraction)
    assert ours(bert, pairs, method=extraction) == expected
    assert ours(bert, pairs, package=True, method=extraction) == expected


def test_half_precision_changes_few_links(bert: Path, pairs: list[Pair]) -> None:
    exact, rough = ours(bert, pairs), ours(bert, pairs, dtype="bfloat16")
    both = sum(len(a & b) for a, b in zip(exact, rough, strict=True))
    assert both > 0.95 * sum(len(a | b) for a, b in zip(exact, rough, strict=True))


def test_what_awesome_align_has_trained_is_aligned_with(
    bert: Path, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"{' '.join(source)} ||| {' '.join(target)}\n" for source, target in pairs[:12])
    (tmp_path / "pairs").write_text(text, encoding="utf-8")
    trained = tmp_path / "trained"
    arguments = {
        "train_data_file": tmp_path / "pairs",
        "output_dir": trained,
        "model_name_or_path": bert,
        "tokenizer_name": bert,
        "align_layer": LAYER,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "gradient_accumulation_steps": 1,
    }
    command = [str(part) for key, value in arguments.items() for part in (f"--{key}", value)]
    flags = ["--do_train", "--train_so", "--train_psi", "--train_tlm", "--no_cuda"]
    monkeypatch.setattr("sys.argv", ["awesome-train", *command, *flags])
    run_train.main()
    assert not [*trained.glob("*.safetensors")]
    expected = theirs(trained, pairs, "softmax")
    assert expected != theirs(bert, pairs, "softmax")
    assert ours(trained, pairs) == expected
    assert ours(trained, pairs, package=True) == expected


@pytest.mark.parametrize("extraction", ["softmax", "entmax"])
def test_objectives_are_awesome_aligns(extraction: str) -> None:
    chance = torch.Generator().manual_seed(3)
    head = awesome_modeling.BertGuideHead(None)
    real = torch.tensor([[0, 1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0, 0]], dtype=torch.bool)
    other = torch.tensor([[0, 1, 1, 0, 0], [0, 1, 1, 1, 0]], dtype=torch.bool)
    ids = [torch.where(mask, 7, awesome_modeling.PAD_ID) for mask in (real, other)]
    states = [torch.randn(2, mask.shape[1], 8, generator=chance) for mask in (real, other)]
    linked = torch.rand(2, 7, 5, generator=chance) < 0.4
    linked &= real[:, :, None] & other[:, None, :]
    scores = states[0] @ states[1].mT
    arguments = extraction, scores, real, other

    def theirs(**wanted: bool) -> Any:
        return head(*states, *ids, guide=linked[:, None].float(), extraction=extraction, **wanted)

    torch.testing.assert_close(
        objectives.self_training(*arguments, linked), theirs(train_so=True, train_co=False)
    )
    torch.testing.assert_close(
        objectives.consistency(*arguments), theirs(train_so=False, train_co=True)
    )


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
