"""What a tagger lowers while it learns. All are over words: logits (words, labels), weights (words,)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def hard(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy with one label (words,) a word, the weighted sum over words."""
    import torch

    losses = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")
    return (losses * weights).sum()


def mse(logits: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
    """Squared distance of the softmax from a teacher's probabilities (words, labels), the mean over
    labels and the weighted sum over words (Wu et al. 2020, arXiv 2004.12440).
    """
    distances = (logits.float().softmax(-1) - probabilities).square().mean(-1)
    return (distances * weights).sum()


def kl(logits: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the softmax from a teacher's probabilities (words, labels), the
    weighted sum over words.
    """
    import torch

    logs = logits.float().log_softmax(-1)
    divergence = torch.xlogy(probabilities, probabilities) - probabilities * logs
    return (divergence.sum(-1) * weights).sum()


SOFT = {"mse": mse, "kl": kl}
