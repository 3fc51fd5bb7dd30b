"""What a tagger lowers while it learns: of words, given as logits (words, labels) and weights (words,),
and of linked words, given as vectors (pairs, width) of either side.
"""

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


def contrastive(source: Tensor, target: Tensor, alike: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each word's counterpart among all of the other side, by cosine /
    `temperature`; the mean of both directions, summed over pairs (InfoNCE; for linked words Wu and
    Dredze 2020, arXiv 2010.02537). It cannot be lowered by making all vectors alike.

    Pairs that are `alike` (pairs, pairs) in a word on either side are not held against each other.
    """
    import torch

    source, target = (
        torch.nn.functional.normalize(each.float(), dim=-1) for each in (source, target)
    )
    same = torch.arange(len(source), device=source.device)
    others = alike & ~torch.eye(len(source), dtype=torch.bool, device=source.device)
    scores = (source @ target.T / temperature).masked_fill(others, -torch.inf)
    entropy = torch.nn.functional.cross_entropy
    return (entropy(scores, same, reduction="sum") + entropy(scores.T, same, reduction="sum")) / 2


def cosine(source: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of the two vectors of each pair, summed over pairs.

    Nothing in it holds unlinked words apart (Cao, Kitaev and Klein 2020, arXiv 2002.03518, hold the
    source side where it was; here that is left to the tags' loss).
    """
    import torch

    return (1 - torch.nn.functional.cosine_similarity(source.float(), target.float())).sum()


SOFT = {"mse": mse, "kl": kl}
