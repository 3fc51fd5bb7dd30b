"""Linked words pulled together: which words they are, the gradient, and what it does to retrieval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from projner import record
from projner.demo.write_corpus import CORPUS
from projner.errors import JobError
from projner.train.config import Alignment, Data, Gold, Training

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")

from transformers import AutoModelForTokenClassification, AutoTokenizer  # noqa: E402

from projner.train import alignment  # noqa: E402
from projner.train.alignment import Learner, Pulling  # noqa: E402
from projner.train.beside import Device, Rows  # noqa: E402
from projner.train.data import read_gold  # noqa: E402
from projner.train.examples import Reading  # noqa: E402

ROWS = [
    ("Ada met Wangari Maathai .", "Ada alikutana Wangari Maathai .", "0-0 1-1 2-2 3-3 4-4"),
    # Words with several links are left out, and a sentence that has no other.
    ("The people went", "Watu waliondoka", "0-0 1-0 2-1"),
    ("It rained", "Mvua", "0-0 1-0"),
    ("Rome " * 30, "Roma", "0-0"),
    ("people", "Watu", "0-0"),
]


def table(rows) -> pa.Table:
    links = [
        [dict(zip(("source", "target"), map(int, pair.split("-")), strict=True)) for pair in given]
        for given in (text.split() for *_, text in rows)
    ]
    columns = {
        "source_tokens": [source.split() for source, _, _ in rows],
        "target_tokens": [target.split() for _, target, _ in rows],
        "links": [[{**link, "score": 1.0} for link in row] for row in links],
    }
    return pa.table({name: pa.array(of, record.COLUMNS[name]) for name, of in columns.items()})


@pytest.fixture
def model(demo_models) -> str:
    return str(demo_models.encoder)


def test_words_that_are_linked_to_each_other_alone_are_found_again(model: str):
    tokenizer = Reading(model, None, 100, ("O",)).tokenizer()
    made = alignment.encode(table(ROWS), model, tokenizer, 20).to_pylist()
    assert len(made) == 3
    words = [
        [
            ("ada", "ada"),
            ("met", "alikutana"),
            ("wangari", "wangari"),
            ("maathai",) * 2,
            (".", "."),
        ],
        [("went", "waliondoka")],
        [("people", "watu")],
    ]
    forms: dict[int, set[str]] = {}
    for row, expected in zip(made, words, strict=True):
        for number, side in enumerate(alignment.SIDES):
            for place, (first, size) in enumerate(
                zip(row[f"{side}_first"], row[f"{side}_size"], strict=True)
            ):
                word = expected[place][number]
                pieces = row[f"{side}_ids"][first : first + size]
                assert tokenizer.decode(pieces).replace(" ", "").lower() == word
                forms.setdefault(row[f"{side}_form"][place], set()).add(word)
            assert len(row[f"{side}_first"]) == len(expected)
    assert all(len(same) == 1 for same in forms.values())


def learner(model: str, rows, folder: Path, **settings) -> Learner:
    """Of a tagger with a new head."""
    section = Alignment(runs="none", **settings)
    task = Pulling(section, 2, 2, section.batch, "none")
    made = task.encode(table(rows), Reading(model, None, 100, ("O",)))
    pq.write_table(made, folder / "rows.parquet")
    tagger = AutoModelForTokenClassification.from_pretrained(model).eval()
    read = Rows(folder, section.batch, 0, section.held_out)
    return task.learner(tagger, Device("cpu", torch.float32, 2048, 0), read)


@pytest.mark.parametrize("loss", ["cosine", "contrastive"])
def test_the_gradient_is_that_of_the_mean_over_pairs(model: str, loss: str, tmp_path: Path):
    settings = {"batch": 2, "held_out": 0, "weight": 0.5, "temperature": 0.3}
    made = learner(model, [ROWS[0], ROWS[4]], tmp_path, loss=loss, **settings)
    lost = made.learn(0, 0, 1)
    encoder = made._tagger.base_model
    found = torch.cat(
        [each.grad.flatten() for each in encoder.parameters() if each.grad is not None]
    )
    encoder.zero_grad()

    tokenizer = AutoTokenizer.from_pretrained(model)
    states: tuple[list, list] = ([], [])
    for row in (ROWS[0], ROWS[4]):
        for side, text in zip(states, row[:2], strict=True):
            read = tokenizer(text.split(), is_split_into_words=True, return_tensors="pt")
            hidden = encoder(**read).last_hidden_state[0]
            words = torch.tensor([-1 if word is None else word for word in read.word_ids()])
            side += [hidden[words == word].mean(0) for word in range(len(text.split()))]
    source, target = map(torch.stack, states)
    scores = torch.nn.functional.cosine_similarity(source[:, None], target[None], dim=-1)
    if loss == "cosine":
        mean = (1 - scores.diagonal()).mean()
    else:
        logs = [(given / 0.3).log_softmax(-1).diagonal() for given in (scores, scores.T)]
        mean = -(logs[0] + logs[1]).mean() / 2
    (mean * 0.5).backward()
    expected = torch.cat(
        [each.grad.flatten() for each in encoder.parameters() if each.grad is not None]
    )
    assert lost == pytest.approx(mean.item(), rel=1e-4)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-3)


def demo_pairs() -> list[tuple[str, str, str]]:
    sides = (
        [
            " ".join(tokens)
            for tokens, _ in read_gold(Gold(path=str(CORPUS / f"train.{code}.conll")))
        ]
        for code in ("eng", "swh")
    )
    links = (CORPUS / "train.eng-swh.pharaoh").read_text(encoding="utf-8").splitlines()
    return [*zip(*sides, links, strict=True)]


@pytest.mark.parametrize("weight", [0, 1.0])
def test_retrieval_rises_where_it_is_learnt_and_nothing_moves_where_not(
    model: str, weight: float, tmp_path: Path
):
    made = learner(model, demo_pairs(), tmp_path, batch=16, held_out=50, weight=weight)
    parameters = [*made._tagger.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3)
    before = made.measure()["retrieval"]
    lost = []
    for step in range(25):
        lost.append(made.learn(step, 0, 1))
        optimiser.step()
        optimiser.zero_grad()
    after = made.measure()["retrieval"]
    if weight:
        assert np.mean(lost[-5:]) < 0.7 * np.mean(lost[:5])
        assert after > before + 0.05
    else:
        assert {*lost} == {None}
        assert after == before


def test_a_run_is_read_by_its_newest_snapshot(pairs_run: str, model: str):
    training = Training(model=model, data=Data(runs=pairs_run), alignment={"runs": pairs_run})
    source = alignment.source(training, training.alignment)
    tables = [part.call() for part in source.parts]
    assert sum(each.num_rows for each in tables) == 5
    assert source.task.layer == 2
    made = [source.task.encode(each, Reading(model, None, 100, ("O",))) for each in tables]
    assert sum(each.num_rows for each in made) == 5


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"runs": "nowhere"}, "nowhere: no finished run here"),
        ({"runs": "RUN", "layer": 9}, "has 2 layers; set alignment.layer to one of 0..2"),
    ],
)
def test_what_cannot_be_learnt_from_is_told(pairs_run: str, model: str, section, message: str):
    section = {**section, "runs": section["runs"].replace("RUN", pairs_run)}
    training = Training(model=model, data=Data(runs=pairs_run), alignment=section)
    with pytest.raises(JobError, match=message):
        alignment.source(training, training.alignment)
