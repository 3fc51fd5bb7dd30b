"""Losses beside torch's own."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")

from projner.train import losses  # noqa: E402


@pytest.fixture
def words():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=generator)
    probs = torch.randn(7, 5, generator=generator).softmax(-1)
    weights = torch.rand(7, generator=generator)
    return logits, probs, weights


def test_a_label_is_a_teacher_that_is_sure(words):
    logits, _, weights = words
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    sure = torch.nn.functional.one_hot(labels, 5).float()
    hard = losses.hard(logits, labels, weights)
    assert hard == pytest.approx(float(losses.kl(logits, sure, weights)), rel=1e-5)


def test_mse_and_kl_are_those_of_torch(words):
    logits, probs, weights = words
    squared = torch.nn.functional.mse_loss(logits.softmax(-1), probs, reduction="none").mean(-1)
    assert losses.mse(logits, probs, weights) == pytest.approx(float((squared * weights).sum()))
    divergence = torch.nn.functional.kl_div(logits.log_softmax(-1), probs, reduction="none").sum(-1)
    assert losses.kl(logits, probs, weights) == pytest.approx(float((divergence * weights).sum()))


def test_the_mean_of_teachers_has_the_gradient_of_all_of_them(words):
    """Why several teachers may be averaged before training."""
    logits, probs, weights = words
    other = probs.flip(-1)
    shares = (0.3, 0.7)
    for loss in (losses.mse, losses.kl):
        gradients = []
        mean = shares[0] * probs + shares[1] * other
        for teachers in ([(1.0, mean)], [(shares[0], probs), (shares[1], other)]):
            given = logits.clone().requires_grad_()
            sum(share * loss(given, teacher, weights) for share, teacher in teachers).backward()
            gradients.append(given.grad)
        torch.testing.assert_close(*gradients)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(2, 6, 4, generator=generator)
    # The first and the third pair share a word.
    alike = torch.eye(6, dtype=torch.bool)
    alike[0, 2] = alike[2, 0] = True
    return source, target, alike


def cosine(one, other) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def test_contrastive_is_the_entropy_of_choosing_among_all_that_are_not_alike(pairs):
    source, target, alike = pairs
    expected = 0.0
    for this, that in ((source, target), (target, source)):
        for number, word in enumerate(this):
            scores = {
                other: cosine(word, that[other]) / 0.2
                for other in range(6)
                if other == number or not alike[number, other]
            }
            total = sum(math.exp(score) for score in scores.values())
            expected -= math.log(math.exp(scores[number]) / total) / 2
    found = losses.contrastive(source, target, alike, 0.2)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    # One alone has nothing to be told from.
    assert float(losses.contrastive(source[:1], target[:1], alike[:1, :1], 0.2)) == 0


def test_vectors_that_are_all_alike_please_cosine_but_not_contrastive(pairs):
    source, _, alike = pairs
    same = source[:1].expand(6, -1)
    assert float(losses.cosine(same, same)) == pytest.approx(0, abs=1e-5)
    assert losses.contrastive(same, same, alike, 0.1) > losses.contrastive(
        source, source, alike, 0.1
    )


def test_cosine_is_the_sum_of_distances(pairs):
    source, target, _ = pairs
    expected = sum(1 - cosine(one, other) for one, other in zip(source, target, strict=True))
    assert float(losses.cosine(source, target)) == pytest.approx(expected, rel=1e-5)
