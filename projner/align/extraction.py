"""From sub-word vectors of two sentences to sub-word links, for a batch of sentence pairs at once.

Methods of awesome-align (Dou and Neubig 2021): `softmax`, `entmax`; of SimAlign (Jalili Sabet et al.
2020): `argmax`, `itermax`, `match`. All take vectors of shape (pairs, sub-words, width) without special
tokens, and masks (pairs, sub-words) that are true where a sub-word is; all return a tensor of shape
(pairs, source sub-words, target sub-words): the link's score in (0, 1], and 0 where there is no link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SOFTMAX_THRESHOLD = 1e-3
ITERMAX_ALPHA = 0.9
METHODS = ("softmax", "entmax", "argmax", "itermax", "match")


def extract(
    method: str,
    source: Tensor,
    target: Tensor,
    source_mask: Tensor,
    target_mask: Tensor,
    threshold: float | None = None,
) -> Tensor:
    """Link scores of every sub-word pair by one of `METHODS`.

    `threshold` is that of awesome-align: 0.001 for softmax and 0 for entmax unless given.
    """
    pairs = source_mask[:, :, None] & target_mask[:, None, :]
    if method in ("softmax", "entmax"):
        scores = source.float() @ target.float().mT
        return _awesome(method, scores, source_mask, target_mask, threshold)
    similarity = _similarity(source.float(), target.float())
    if method == "match":
        links = _match(similarity, source_mask, target_mask)
    else:
        links = _mutual_best(similarity, pairs)
        if method == "itermax":
            links = _iterate(similarity, links, source_mask, target_mask)
    return similarity * (links & pairs)


def directions(
    method: str, scores: Tensor, source_mask: Tensor, target_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Each source sub-word's shares of the target sub-words, and the other way round.

    By softmax or entmax. Shares in and of padding mean nothing.
    """
    scores = scores.masked_fill(~(source_mask[:, :, None] & target_mask[:, None, :]), -1e9)
    normalise = _softmax if method == "softmax" else entmax15
    return normalise(scores, -1), normalise(scores, -2)


def _awesome(
    method: str, scores: Tensor, source: Tensor, target: Tensor, threshold: float | None
) -> Tensor:
    pairs = source[:, :, None] & target[:, None, :]
    forward, backward = directions(method, scores, source, target)
    if threshold is None:
        threshold = SOFTMAX_THRESHOLD if method == "softmax" else 0.0
    links = (forward > threshold) & (backward > threshold) & pairs
    return (forward * backward).sqrt() * links


def _softmax(scores: Tensor, dim: int) -> Tensor:
    return scores.softmax(dim)


def entmax15(scores: Tensor, dim: int) -> Tensor:
    """Entmax with alpha 1.5 (Peters et al. 2019): like softmax, but exactly 0 for poor scores."""
    import torch

    z = (scores - scores.amax(dim, keepdim=True)).transpose(dim, -1) / 2
    ordered = z.sort(-1, descending=True).values
    rank = torch.arange(1, z.shape[-1] + 1, device=z.device, dtype=z.dtype)
    mean = ordered.cumsum(-1) / rank
    spread = rank * ((ordered**2).cumsum(-1) / rank - mean**2)
    tau = mean - ((1 - spread) / rank).clamp(min=0).sqrt()
    support = (tau <= ordered).sum(-1, keepdim=True)
    chosen = tau.gather(-1, support - 1)
    return ((z - chosen).clamp(min=0) ** 2).transpose(dim, -1)


def _similarity(source: Tensor, target: Tensor) -> Tensor:
    """Cosine similarity moved to [0, 1]."""
    import torch

    source = torch.nn.functional.normalize(source, dim=-1)
    target = torch.nn.functional.normalize(target, dim=-1)
    return (source @ target.mT + 1) / 2


def _mutual_best(similarity: Tensor, pairs: Tensor) -> Tensor:
    """Pairs in which each is the other's best (the first of equals)."""
    masked = similarity.masked_fill(~pairs, -1)
    best_target, best_source = masked.argmax(2), masked.argmax(1)
    return (
        _one_hot(best_target, similarity.shape[2]) & _one_hot(best_source, similarity.shape[1]).mT
    )


def _one_hot(indices: Tensor, count: int) -> Tensor:
    import torch

    return torch.nn.functional.one_hot(indices, count).bool()


def _iterate(similarity: Tensor, links: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """SimAlign's second round: mutual best among what has at most one side linked yet.

    Pairs with one linked side compete at `ITERMAX_ALPHA` of their similarity. Sentences of at most two
    sub-words, or with a side that is linked throughout, keep their first round.
    """
    pairs = source[:, :, None] & target[:, None, :]
    links = links & pairs
    free_source = ~links.any(2) & source
    free_target = ~links.any(1) & target
    lengths = source.sum(1).minimum(target.sum(1))
    goes_on = (lengths > 2) & free_source.any(1) & free_target.any(1)
    free = free_source[:, :, None].float() + free_target[:, None, :].float()
    weight = (ITERMAX_ALPHA * free).clamp(0, 1)
    again = _mutual_best(similarity * weight, pairs) & (free > 0) & goes_on[:, None, None]
    return links | again


def _match(similarity: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The maximum-weight bipartite matching of each pair (every sub-word of the shorter side linked)."""
    import torch
    from scipy.optimize import linear_sum_assignment

    links = torch.zeros(similarity.shape, dtype=torch.bool)
    weights = similarity.cpu().numpy()
    lengths = zip(source.sum(1).tolist(), target.sum(1).tolist(), strict=True)
    for number, (rows, columns) in enumerate(lengths):
        chosen = linear_sum_assignment(weights[number, :rows, :columns], maximize=True)
        links[number][chosen] = True
    return links.to(similarity.device)
