"""Weights of teachers by the likeness of languages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch", reason="needs the extra projner[models]")

from projner.demo.write_corpus import CORPUS
from projner.errors import JobError
from projner.evaluate import f1
from projner.train import similarity
from projner.train.config import Learned


def test_languages_are_told_apart_however_many_sentences_each_has():
    chance = np.random.default_rng(0)
    centers = chance.normal(size=(3, 20)) * [[1], [1], [30]]
    drawn = [
        center + chance.normal(size=(count, 20)) * scale
        for center, count, scale in zip(centers, (20, 400, 400), (1, 1, 30), strict=True)
    ]
    slopes, offsets = similarity.classifier(drawn, rank=4, orthogonality=0.01)
    assert (slopes.shape, offsets.shape) == ((20, 3), (3,))
    for number, vectors in enumerate(drawn):
        found = (vectors @ slopes + offsets).argmax(axis=1)
        assert (found == number).mean() > 0.9
    # The scores' differences, which alone decide, have no more dimensions than the rank.
    narrow, _ = similarity.classifier(drawn, rank=1, orthogonality=0.01)
    assert np.linalg.matrix_rank(narrow, tol=1e-4 * np.abs(narrow).max()) == 1
    again, _ = similarity.classifier(drawn, rank=4, orthogonality=0.01)
    np.testing.assert_array_equal(slopes, again)


def test_a_sentence_is_like_its_own_language(demo_models, tmp_path: Path):
    texts = tuple(str(CORPUS / f"train.{name}.conll") for name in ("eng", "swh"))
    section = Learned(model=str(demo_models.encoder), texts=texts, sentences=150)
    held_out = {
        name: f1.read_labelled(str(CORPUS / f"test.{name}.conll"), limit=40).tokens
        for name in ("eng", "swh", "hau")
    }
    read = similarity.texts(section)
    assert [*map(len, read)] == [150, 150]
    learnt = similarity.learn(section, read, held_out["hau"])
    learnt.save(tmp_path / "weights.npz")
    again = similarity.Languages.load(tmp_path / "weights.npz")
    mean = {}
    for name, sentences in held_out.items():
        weights = again.weights(pa.array(sentences))
        np.testing.assert_allclose(weights.sum(axis=1), 1)
        mean[name] = weights.mean(axis=0)
    # How sure it is depends on the toy encoder, which is not the same on every machine.
    assert mean["eng"][0] > mean["swh"][0]
    assert mean["swh"][1] > mean["eng"][1]


def test_a_text_without_sentences_is_told(tmp_path: Path):
    (tmp_path / "empty.conll").write_text("\n", encoding="utf-8")
    with pytest.raises(JobError, match="holds no sentences"):
        similarity.texts(Learned(model="m", texts=(str(tmp_path / "empty.conll"),)))
