"""What an aligner's encoder can learn from sentence pairs alone (Dou and Neubig 2021).

Scores are (pairs, source sub-words, target sub-words), masks (pairs, sub-words) are true where a
sub-word is. Losses are means over pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projner.align import extraction

if TYPE_CHECKING:
    from torch import Generator, Tensor

MASKED = 0.15
"""The share of sub-words that are to be guessed, as BERT was trained."""
IGNORED = -100
"""The label of what is not to be guessed."""


def guide(links: Tensor, source_words: Tensor, target_words: Tensor) -> Tensor:
    """All sub-word pairs of words that have a link between any of their sub-words.

    Words are numbered in their sentence; what belongs to none has a negative number.
    """
    import torch

    width = int(target_words.max()) + 1
    height = int(source_words.max()) + 1
    pair = torch.arange(len(links), device=links.device)[:, None, None]
    keys = (pair * height + source_words[:, :, None]) * width + target_words[:, None, :]
    real = (source_words >= 0)[:, :, None] & (target_words >= 0)[:, None, :]
    return torch.isin(keys, keys[links & real]) & real


def self_training(
    method: str, scores: Tensor, source: Tensor, target: Tensor, linked: Tensor
) -> Tensor:
    """How unsure both directions are of what is `linked`: from -2 to 0."""
    forward, backward = extraction.directions(method, scores, source, target)
    lengths = source.sum(1), target.sum(1)
    sure = [
        (share * linked).sum((1, 2)) / length
        for share, length in zip((forward, backward), lengths, strict=True)
    ]
    return -(sure[0] + sure[1]).mean()


def consistency(method: str, scores: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """How much the two directions disagree: from -1 to 0."""
    forward, backward = extraction.directions(method, scores, source, target)
    both = source[:, :, None] & target[:, None, :]
    shortest = source.sum(1).minimum(target.sum(1))
    return -((forward * backward * both).sum((1, 2)) / shortest).mean()


def masked(
    ids: Tensor, maskable: Tensor, mask: int, vocabulary: int, chance: Generator
) -> tuple[Tensor, Tensor]:
    """Sub-words to read and labels to guess: a part of what is `maskable` is hidden, as for BERT.

    Of that part 80 % become `mask`, 10 % any sub-word of the `vocabulary`, and the rest stays.
    """
    import torch

    def draw() -> Tensor:
        return torch.rand(ids.shape, generator=chance).to(ids.device)

    chosen = (draw() < MASKED) & maskable
    how = draw()
    others = torch.randint(vocabulary, ids.shape, generator=chance).to(ids.device)
    read = torch.where(chosen & (how < 0.8), mask, ids)
    read = torch.where(chosen & (how >= 0.9), others, read)
    return read, torch.where(chosen, ids, IGNORED)


def guesses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of hidden sub-words, the mean of each sentence's; 0 for those that hide none."""
    import torch

    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(labels.shape)
    return (losses.sum(1) / (labels != IGNORED).sum(1).clamp(min=1)).mean()
