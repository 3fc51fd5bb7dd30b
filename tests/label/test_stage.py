from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from projner import devices, record, stage, tags
from projner.batching import pack
from projner.config import Label
from projner.errors import JobError
from projner.label import Labeller
from projner.label.transformers import Tagger
from projner.windows import cover

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def _table(sentences, side="source"):
    count = len(sentences)
    return pa.table(
        {
            f"{side}_tokens": pa.array(sentences, pa.list_(pa.string())),
            "status": pa.array(["ok"] * count),
            "status_detail": pa.nulls(count, pa.string()),
        }
    )


def _labeller(model, side="source", probabilities=True, **settings):
    labeller = Labeller(
        Label(model=str(model), **{"device": "cpu", **settings}), side, probabilities=probabilities
    )
    labeller.setup()
    return labeller


def _probabilities(table, column="source_probs"):
    return [np.array(rows, np.float32) for rows in table[column].to_pylist()]


class Peer:
    """What transformers does by itself, one sentence at a time."""

    def __init__(self, folder):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
        self.model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
        self.pipeline = transformers.pipeline(
            "token-classification", model=self.model, tokenizer=self.tokenizer, ignore_labels=[]
        )
        labels = self.model.config.id2label
        self.labels = [labels[number] for number in range(len(labels))]

    def first_sub_words(self, words):
        """(label, score) of every word's first sub-word, as the pipeline has them."""
        pieces = self.pipeline([words], is_split_into_words=True)[0]
        found = {piece["index"]: piece for piece in pieces}
        word_ids = self.tokenizer(words, is_split_into_words=True).word_ids()
        first = {}
        for position, word in enumerate(word_ids):
            if word is not None:
                first.setdefault(word, position)
        return {w: (found[p]["entity"], found[p]["score"]) for w, p in first.items()}

    def pooled(self, words, how):
        """Label probabilities of every word, by a loop over words and sub-words."""
        encoding = self.tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            rows = self.model(**encoding).logits[0].softmax(-1).numpy()
        word_ids = encoding.word_ids()
        pooled = []
        for word in range(len(words)):
            pieces = rows[[at for at, owner in enumerate(word_ids) if owner == word]]
            if len(pieces) == 0:
                pooled.append([float(label == "O") for label in self.labels])
            elif how == "mean":
                pooled.append(pieces.mean(axis=0))
            else:
                pooled.append(pieces[0 if how == "first" else pieces.max(axis=1).argmax()])
        return np.array(pooled, np.float32).reshape(len(words), len(self.labels))


@pytest.fixture(scope="module")
def peers(checkpoints):
    return {folder: Peer(folder) for folder in checkpoints.values()}


def _exact(labeller, sentences):
    """Tag probabilities of every word as the stage has them before they become float16."""
    tokens = pa.array(sentences, pa.list_(pa.string()))
    return labeller._words(tokens, np.array([len(words) for words in sentences]))


def _assert_like_the_pipeline(labeller, peer, sentences):
    probabilities = _exact(labeller, sentences)
    before = 0
    for words in sentences:
        rows = probabilities[before : before + len(words)]
        before += len(words)
        if not words:
            continue
        for word, (label, score) in peer.first_sub_words(words).items():
            assert labeller.classes()[rows[word].argmax()] == label
            assert rows[word].max() == pytest.approx(score, abs=1e-5)


def test_probabilities_equal_the_pipelines(checkpoint, peers, sentences):
    _assert_like_the_pipeline(_labeller(checkpoint), peers[checkpoint], sentences)


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_probabilities_equal_the_pipelines_on_real_text(shared_data, checkpoints, peers, kind):
    with (shared_data / "lafand" / "en-swa" / "test.en").open(encoding="utf-8") as lines:
        sentences = [line.split() for line, _ in zip(lines, range(200), strict=False)]
    folder = checkpoints[kind]
    _assert_like_the_pipeline(_labeller(folder), peers[folder], sentences)


@pytest.mark.parametrize("pooling", ["first", "mean", "max"])
def test_pooled_probabilities_equal_a_loop(checkpoint, peers, sentences, pooling):
    labeller = _labeller(checkpoint, pooling=pooling)
    expected = [peers[checkpoint].pooled(words, pooling) for words in sentences if words]
    np.testing.assert_allclose(_exact(labeller, sentences), np.concatenate(expected), atol=1e-5)


def test_entities_are_the_spans_of_the_most_probable_labels(checkpoint, peers, sentences):
    labelled = stage.run(_labeller(checkpoint, probabilities=False), _table(sentences))
    assert labelled["source_entities"].type == record.COLUMNS["source_entities"]
    entities = 0
    for words, found in zip(sentences, labelled["source_entities"].to_pylist(), strict=True):
        peer = peers[checkpoint]
        rows = peer.pooled(words, "first")
        spans = tags.to_spans([peer.labels[best] for best in rows.argmax(axis=1)])
        assert [(e["start"], e["end"], e["label"]) for e in found] == spans
        for entity in found:
            score = rows[entity["start"] : entity["end"]].max(axis=1).mean()
            assert entity["score"] == pytest.approx(score, abs=1e-5)
        entities += len(spans)
    assert entities


def test_the_columns(checkpoints, sentences):
    labeller = _labeller(checkpoints["wordpiece"], side="target")
    table = _table(sentences, "target")
    labelled = labeller(table)
    assert labelled.column_names == [*table.column_names, "target_labels", "target_probs"]
    assert labelled.select(table.column_names).equals(table)
    assert labelled["target_probs"].type == pa.list_(pa.list_(pa.float16()))
    classes = labelled.schema.metadata[b"projner.classes.target_probs"].decode().split("\t")
    assert classes == labeller.classes() == ["O", *classes[1:]]
    for words, rows in zip(sentences, _probabilities(labelled, "target_probs"), strict=True):
        assert rows.shape == (len(words), len(classes)) or not words
        np.testing.assert_allclose(rows.sum(axis=-1), np.ones(len(rows)), atol=2e-3)


def test_a_column_of_ones_own(checkpoints):
    labeller = Labeller(Label(model=str(checkpoints["bytes"])), "target", entities_column="silver")
    assert (labeller.inputs, labeller.outputs) == (("target_tokens",), ("silver",))


def test_order_and_batches_change_nothing(checkpoint, sentences):
    together = _exact(_labeller(checkpoint), sentences)
    apart = _labeller(checkpoint, batch_tokens=1)
    alone = np.concatenate([_exact(apart, [words]) for words in sentences])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert apart.counters()["padding"] == 0

    order = np.random.default_rng(0).permutation(len(sentences))
    table = _table(sentences)
    labeller = _labeller(checkpoint)
    straight = labeller(table)["source_entities"].take(pa.array(order)).to_pylist()
    shuffled = labeller(table.take(pa.array(order)))["source_entities"].to_pylist()
    assert [[e["label"] for e in row] for row in straight] == [
        [e["label"] for e in row] for row in shuffled
    ]


def test_encoding_in_parts_changes_nothing(checkpoints, sentences, monkeypatch):
    labeller = _labeller(checkpoints["wordpiece"])
    whole = _exact(labeller, sentences)
    # What happens on a GPU.
    monkeypatch.setattr(labeller, "_parts", lambda counts: pack(counts, 100))
    np.testing.assert_allclose(_exact(labeller, sentences), whole, atol=1e-5)


@pytest.mark.parametrize(("overlap", "shared"), [(None, 8), (0, 0), (20, 20)])
@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_a_long_sentence_is_labelled_window_by_window(
    checkpoints, peers, sentences, kind, overlap, shared
):
    words = [word for sentence in sentences for word in sentence][:400]
    labeller = _labeller(checkpoints[kind], max_tokens=34, overlap=overlap)
    rows = _exact(labeller, [words[:3], words, words[:3]])
    peer = peers[checkpoints[kind]]
    short = peer.pooled(words[:3], "first")
    np.testing.assert_allclose(rows[:3], short, atol=1e-5)
    np.testing.assert_allclose(rows[-3:], short, atol=1e-5)
    encoding = peer.tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    sizes = np.bincount(np.array(encoding.word_ids(), int), minlength=len(words))
    windows = cover(np.minimum(sizes, 32), 32, shared)
    assert len(windows) > 10
    for start, end, first, last in windows:
        expected = peer.pooled(words[start:end], "first")[first - start : last - start]
        np.testing.assert_allclose(rows[3 + first : 3 + last], expected, atol=1e-5)


def test_a_sentence_within_the_limit_is_read_whole(checkpoints, peers, sentences):
    folder = checkpoints["unigram"]
    words = [word for sentence in sentences for word in sentence][:100]
    rows = _exact(_labeller(folder), [words])
    np.testing.assert_allclose(rows, peers[folder].pooled(words, "first"), atol=1e-5)
    cut = _exact(_labeller(folder, max_tokens=64), [words])
    assert np.abs(cut - rows).max() > 1e-3


@pytest.mark.parametrize("kind", ["bytes", "deberta", "unigram", "wordpiece"])
def test_the_limit_is_the_models_own(copy_of, kind):
    folder = copy_of(kind)
    # Many checkpoints do not say it here.
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("model_max_length", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    labeller = _labeller(folder)
    assert labeller._tagger.limit == 510
    assert np.isfinite(_exact(labeller, [["market"] * 700])).all()


def test_words_that_no_model_sees_are_outside(checkpoints):
    labeller = _labeller(checkpoints["wordpiece"])
    labelled = labeller(_table([["\u200b"], ["Amina", "\u200d", "Okoye"], []]))
    rows = _probabilities(labelled)
    outside = [1.0] + [0.0] * 6
    assert rows[0].tolist() == [outside]
    assert rows[1][1].tolist() == outside
    assert labelled["source_entities"].to_pylist()[0] == []
    assert labelled["source_entities"].to_pylist()[2] == []


def test_a_table_without_rows(checkpoints):
    labelled = _labeller(checkpoints["wordpiece"])(_table([]))
    assert labelled.num_rows == 0
    assert labelled["source_entities"].type == record.COLUMNS["source_entities"]


def test_classes_are_renamed_and_ignored(checkpoints, sentences):
    folder = checkpoints["unigram"]
    plain = _exact(_labeller(folder), sentences)
    labeller = _labeller(folder, rename={"ORG": "LOC"}, ignore=["MISC"])
    assert labeller.classes() == ["B-LOC", "O", "I-LOC", "I-PER"]
    b_loc, b_misc, b_org, i_loc, i_misc, i_org, i_per, outside = plain.T
    expected = [b_loc + b_org, b_misc + i_misc + outside, i_loc + i_org, i_per]
    np.testing.assert_allclose(_exact(labeller, sentences), np.stack(expected, 1), atol=1e-6)
    labelled = labeller(_table(sentences))["source_entities"].to_pylist()
    assert {entity["label"] for row in labelled for entity in row} <= {"LOC", "PER"}


def test_entities_that_are_given_stay(checkpoints):
    given = [[{"start": 0, "end": 1, "label": "GIVEN", "score": 1.0}], None]
    table = _table([["Amina", "Okoye"]] * 2)
    table = record.with_column(table, "source_entities", given)
    labelled = _labeller(checkpoints["wordpiece"])(table)
    assert labelled["source_entities"].to_pylist()[0] == given[0]
    assert labelled["source_entities"].to_pylist()[1] is not None
    assert labelled["source_probs"].null_count == 0


def test_counters(checkpoints, sentences):
    labeller = _labeller(checkpoints["wordpiece"], batch_tokens=400)
    table = _table(sentences)
    labeller(table)
    labeller(table)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoints["wordpiece"])
    encoded = [tokenizer(words, is_split_into_words=True)["input_ids"] for words in sentences]
    visible = [ids for ids in encoded if len(ids) > 2]
    counters = labeller.counters()
    assert counters["sentences"] == 2 * len(sentences)
    assert counters["tokens"] == 2 * sum(map(len, visible))
    assert 0 < counters["padding"] < 0.1 * counters["tokens"]
    assert counters["seconds"] > 0


def _failing(monkeypatch, fails):
    real = Tagger.probabilities

    def probabilities(self, ids, lengths, firsts, counts):
        if fails(lengths):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, ids, lengths, firsts, counts)

    monkeypatch.setattr(Tagger, "probabilities", probabilities)


def test_memory_that_holds_three_rows_is_enough(checkpoints, sentences, monkeypatch):
    labeller = _labeller(checkpoints["wordpiece"])
    roomy = _exact(labeller, sentences)
    _failing(monkeypatch, lambda lengths: len(lengths) > 3)
    np.testing.assert_allclose(_exact(labeller, sentences), roomy, atol=1e-5)


def test_a_sentence_that_memory_never_holds_costs_only_itself(checkpoints, monkeypatch):
    _failing(monkeypatch, lambda lengths: lengths.max() > 60)
    labeller = _labeller(checkpoints["wordpiece"], probabilities=False)
    table = _table([["market"], ["incomprehensibilities"] * 90, ["Amina", "Okoye"]])
    labelled = stage.run(labeller, table)
    assert labelled["status"].to_pylist() == ["ok", "error", "ok"]
    assert "out of memory" in labelled["status_detail"].to_pylist()[1]
    assert labelled["source_entities"].is_null().to_pylist() == [False, True, False]


def test_output_that_is_not_a_number_is_an_error(checkpoints):
    labeller = _labeller(checkpoints["wordpiece"], probabilities=False)
    labeller._tagger._model.classifier.bias.data[0] = float("nan")
    labelled = stage.run(labeller, _table([["market"]]))
    assert labelled["status"].to_pylist() == ["error"]
    assert "not a number" in labelled["status_detail"].to_pylist()[0]


def test_float16_probabilities_come_from_a_float32_softmax(checkpoints, peers, sentences):
    folder = checkpoints["wordpiece"]
    rows = _exact(_labeller(folder, dtype="bfloat16"), sentences[3:6])
    np.testing.assert_allclose(rows.sum(axis=1), np.ones(len(rows)), atol=1e-6)
    expected = np.concatenate([peers[folder].pooled(words, "first") for words in sentences[3:6]])
    assert np.abs(rows - expected).max() < 0.1


def test_attention_is_sdpa_where_the_model_has_it(checkpoints):
    attention = {
        kind: _labeller(folder)._tagger._model.config._attn_implementation
        for kind, folder in checkpoints.items()
    }
    assert attention == {
        "bytes": "sdpa",
        "deberta": "eager",
        "unigram": "sdpa",
        "wordpiece": "sdpa",
    }


def test_what_auto_means_is_settled_once(checkpoints, monkeypatch):
    labeller = Labeller(Label(model=str(checkpoints["wordpiece"])), "target", probabilities=True)
    assert labeller.settings()["dtype"] == "float32"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(devices, "choose_dtype", lambda asked, device: torch.bfloat16)
        resolved = labeller.resolved()
    assert resolved.settings()["dtype"] == resolved.config.dtype == "bfloat16"
    assert (resolved.config.device, resolved.outputs) == ("auto", labeller.outputs)
    assert resolved.resolved().settings() == resolved.settings()
    # Whoever goes on to use the first one is not affected.
    assert labeller.config.dtype == "auto"


def test_a_labeller_can_be_pickled_and_says_what_decides_its_results(checkpoints, copy_of):
    labeller = Labeller(Label(model=str(checkpoints["wordpiece"])))
    assert pickle.loads(pickle.dumps(labeller)).settings() == labeller.settings()

    def settings(model=checkpoints["wordpiece"], side="source", **changes):
        return Labeller(Label(model=str(model), **changes), side).settings()

    assert settings(copy_of()) == settings(device="cpu", batch_tokens=7) == labeller.settings()
    others = [
        settings(checkpoints["unigram"]),
        settings(side="target"),
        settings(pooling="max"),
        settings(max_tokens=100),
        settings(overlap=3),
        settings(rename={"PER": "LOC"}),
        settings(ignore=["PER"]),
        settings(dtype="bfloat16"),
    ]
    assert len({str(each) for each in [*others, labeller.settings()]}) == len(others) + 1


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"id2label": {str(n): f"LABEL_{n}" for n in range(7)}}, {}, "'LABEL_0' is not a tag"),
        ({}, {"rename": {"GPE": "LOC"}}, "no class GPE"),
        ({}, {"max_tokens": 513}, "reads 512 sub-words at once, fewer than max_tokens"),
        ({"model_type": "distilbert"}, {}, "has no weights for .*distilbert"),
    ],
)
def test_models_and_settings_that_do_not_fit(copy_of, changes, settings, message):
    folder = copy_of("wordpiece", **changes)
    with pytest.raises(JobError, match=message) as caught:
        _labeller(folder, **settings)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_another_checkpoint(checkpoints, copy_of):
    folder = copy_of("unigram")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"word{number}" for number in range(50)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(JobError, match="take both from the same checkpoint"):
        _labeller(folder)


def test_the_tags_are_read_without_the_weights(copy_of):
    folder = copy_of("wordpiece", without="*.safetensors")
    labeller = Labeller(Label(model=str(folder), ignore=["PER"]))
    assert labeller.classes() == ["O", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
