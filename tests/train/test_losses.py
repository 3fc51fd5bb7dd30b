"""Losses beside torch's own."""

from __future__ import annotations

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
