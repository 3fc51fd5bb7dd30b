"""A second task beside the tags: what is read of CoNLL-U, and what is learnt from it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis.strategies import integers

from projner.demo.write_corpus import CORPUS
from projner.errors import JobError
from projner.train.config import Auxiliary, Gold, Training
from tests.train.dying import DiesOnce

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")

from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForTokenClassification, AutoTokenizer  # noqa: E402

from projner.train import auxiliary, fit  # noqa: E402
from projner.train.auxiliary import Sentence  # noqa: E402
from projner.train.beside import Device, Rows  # noqa: E402
from projner.train.data import read_gold  # noqa: E402
from projner.train.examples import Reading  # noqa: E402

TREE = """\
# text = Wa-na-soma sana.
1-2\tWanasoma\t_\t_\t_\t_\t_\t_\t_\t_
1\tWana\t_\tAUX\t_\t_\t2\taux\t_\t_
2\tsoma\t_\tVERB\t_\t_\t0\troot\t_\t_
2.1\tvitabu\t_\tNOUN\t_\t_\t_\t_\t2:obj\t_
3\t#sana\t_\t_\t_\t_\t2\tadvmod\t_\t_
4\t.\t_\tPUNCT\t_\t_\t2\tpunct\t_\t_

# sent_id = 2
1\tNjoo\t_\tVERB\t_\t_\t0\troot\t_\t_
"""


@pytest.fixture
def tree(tmp_path: Path) -> str:
    path = tmp_path / "tree.conllu"
    path.write_text(TREE, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("column", "first"),
    [
        ("upos", ["AUX", "VERB", None, "PUNCT"]),
        ("deprel", ["aux", "root", "advmod", "punct"]),
        ("head", ["+1", "0", "-1", "-2"]),
    ],
)
def test_words_of_the_tree_are_read_and_no_others(tree: str, column: str, first: list[str | None]):
    sentences = list(auxiliary.read(tree, column))
    assert sentences[0] == Sentence(["Wana", "soma", "#sana", "."], first)
    assert [len(sentence.tokens) for sentence in sentences] == [4, 1]


def test_words_that_the_file_says_nothing_of_weigh_nothing(tree: str):
    source = auxiliary.source(Auxiliary(path=tree), "upos", 8)
    assert source.task.labels == ("O", "AUX", "PUNCT", "VERB")
    (row, _) = source.parts[0].call().to_pylist()
    assert row["weights"] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tree.conllu: is empty"),
        ("# text = none\n", "tree.conllu: holds no sentences"),
        ("\nJumatatu B-DATE\n", "tree.conllu:2: CoNLL-U has 10 columns.* this line has 1"),
        (TREE.replace("3\t#sana", "4\t#sana"), "tree.conllu:6: the word's number is '4' where 3"),
        (TREE.replace("\tNjoo\t", "\t\t"), "tree.conllu:10: the word is empty"),
        (TREE.replace("2\tpunct", "7\tpunct"), "tree.conllu:3: word 4 .* the head '7'"),
        (TREE.replace("2\tpunct", "4\tpunct"), "tree.conllu:3: word 4 .* the head '4'"),
        ("1\tNjoo" + "\t_" * 8 + "\n", "tells nothing apart in the column head"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tree: str, text: str, message: str):
    Path(tree).write_text(text, encoding="utf-8")
    with pytest.raises(JobError, match=message) as told:
        auxiliary.source(Auxiliary(path=tree, column="head"), "head", 8)
    assert "\n" not in str(told.value)


@pytest.fixture
def learner(demo_models, tree: str, tmp_path: Path) -> auxiliary.Learner:
    """Learns three sentences a step, in several parts, and drops nothing out."""
    source = auxiliary.source(Auxiliary(path=tree, batch=3, weight=0.5), "upos", 8)
    model = str(demo_models.tagger)
    made = source.task.encode(source.parts[0].call(), Reading(model, None, 100, ("O",)))
    pq.write_table(made, tmp_path / "rows.parquet")
    tagger = AutoModelForTokenClassification.from_pretrained(model).eval()
    rows = Rows(tmp_path, source.task.batch, seed=0)
    learner = source.task.learner(tagger, Device("cpu", torch.float32, 8, 0), rows)
    learner.head.eval()
    learner.tagger = tagger
    return learner


def gradients(learner: auxiliary.Learner) -> torch.Tensor:
    """All of them, which are then forgotten."""
    parameters = [*learner.tagger.base_model.parameters(), *learner.head.parameters()]
    found = torch.cat([each.grad.flatten() for each in parameters])
    for each in parameters:
        each.grad = None
    return found


def test_a_step_has_the_gradient_of_the_mean_over_its_words(learner: auxiliary.Learner, tree: str):
    step = 1
    lost = learner.learn(step, 0, 1)
    found = gradients(learner)

    tokenizer = AutoTokenizer.from_pretrained(learner.tagger.name_or_path)
    sentences = list(auxiliary.read(tree, "upos"))
    terms = []
    for row in learner._rows.of_step(step).tolist():
        tokens, tags = sentences[row]
        read = tokenizer(tokens, is_split_into_words=True, return_tensors="pt")
        states = learner.tagger.base_model(**read).last_hidden_state[0]
        firsts = [read.word_ids().index(word) for word in range(len(tokens))]
        for place, tag in zip(firsts, tags, strict=True):
            if tag is not None:
                logs = learner.head(states[place]).log_softmax(-1)
                terms.append(-logs[["O", "AUX", "PUNCT", "VERB"].index(tag)])
    mean = torch.stack(terms).mean()
    (mean * 0.5).backward()
    assert lost == pytest.approx(mean.item(), rel=1e-5)
    torch.testing.assert_close(found, gradients(learner), atol=1e-6, rtol=1e-4)


def test_workers_have_the_gradient_of_one_between_them(learner: auxiliary.Learner):
    learner.learn(2, 0, 1)
    alone = gradients(learner)
    # Of four workers, one has no sentence.
    for rank in range(4):
        learner.learn(2, rank, 4)
    torch.testing.assert_close(gradients(learner) / 4, alone, atol=1e-6, rtol=1e-4)


@given(count=integers(1, 40), size=integers(1, 50), steps=integers(1, 20))
def test_steps_go_through_all_rows_again_and_again(count: int, size: int, steps: int):
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.table({"row": range(count)}), f"{folder}/rows.parquet")
        rows, resumed = Rows(Path(folder), size, 3), Rows(Path(folder), size, 3)
    taken = [rows.of_step(step) for step in range(steps)]
    np.testing.assert_array_equal(resumed.of_step(steps - 1), taken[-1])
    assert rows.take(taken[-1])["row"].to_pylist() == taken[-1].tolist()
    for begin in range(0, size * steps - count + 1, count):
        assert sorted(np.concatenate(taken)[begin : begin + count]) == [*range(count)]


@pytest.mark.slow
def test_a_tagger_learns_beside_another_task_though_a_worker_is_lost(
    pairs_run: str, demo_models, tmp_path: Path, monkeypatch
):
    """Two workers, which take the steps of one, and average what each has learnt."""
    tree = tmp_path / "tree.conllu"
    gold = str(CORPUS / "train.swh.conll")
    with tree.open("w", encoding="utf-8") as lines:
        for tokens, tags in read_gold(Gold(path=gold)):
            for number, (token, tag) in enumerate(zip(tokens, tags, strict=True), 1):
                upos = "PROPN" if tag != "O" else "X" if token.isalpha() else "PUNCT"
                lines.write("\t".join([str(number), token, "_", upos, *"_" * 6]) + "\n")
            lines.write("\n")
    training = {
        "model": str(demo_models.encoder),
        "data": {"gold": gold, "limit": 320},
        "auxiliary": {"path": str(tree), "batch": 8},
        "alignment": {"runs": pairs_run, "batch": 3, "held_out": 1},
        "output": str(tmp_path / "trained"),
        "epochs": 1,
        "evaluations": 2,
        "learning_rate": 0.003,
        "workers": {"count": 2, "cpus": 0.5},
    }
    monkeypatch.setattr(fit, "_work", DiesOnce(tmp_path / "died", step=8))
    made = fit.fit(Training.model_validate(training))
    assert (tmp_path / "died").exists()
    assert made.steps == 10
    assert made.f1 is None
    assert [row["step"] for row in made.history] == [5, 10]
    assert made.history[1]["upos_loss"] < made.history[0]["upos_loss"]
    assert made.history[1]["alignment_loss"] > 0
    tagger = AutoModelForTokenClassification.from_pretrained(made.model)
    weights = load_file(made.model / "model.safetensors")
    assert {*weights} == {*tagger.state_dict()}
    card = (made.model / "README.md").read_text(encoding="utf-8")
    assert "It also learnt `upos`" in card
    assert "It also learnt to have like states" in card
    assert made.signature in card
