"""A toy multilingual encoder in the format of BERT, trained in seconds on a CPU to align words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from projner import checkpoints
from projner.demo import training

if TYPE_CHECKING:
    import torch
    from transformers import BertTokenizer

WIDTH = 64
LAYERS = 2
"""The hidden states after the last one align words."""


class Pair(NamedTuple):
    """A sentence, its translation, and which word translates which."""

    source: Sequence[str]
    target: Sequence[str]
    links: Sequence[tuple[int, int]]


def train(
    pairs: Sequence[Pair],
    folder: Path,
    *,
    steps: int = 300,
    pieces: int = 1500,
    seed: int = 0,
) -> None:
    """Train an encoder and save it as a checkpoint.

    The result is a `BertTokenizer` (a WordPiece vocabulary) and a `BertModel` with 2 layers, for
    `AutoTokenizer` and `AutoModel`. The objective is that of awesome-align's self-training (Dou and
    Neubig 2021), with the links of the corpus in place of those that the model finds itself: the
    softmax over the other sentence's sub-words, in either direction, should find what is linked.

    Args:
        pairs: sentence pairs with their links.
        folder: where the checkpoint goes.
        steps: batches of about 512 sub-words to learn from.
        pieces: size of the vocabulary.
        seed: of the weights, and of the order of the pairs.
    """
    import torch

    transformers = checkpoints.library()
    tokenizer = _tokenizer([" ".join(side) for pair in pairs for side in pair[:2]], pieces)
    sides = [
        tokenizer([list(pair[side]) for pair in pairs], is_split_into_words=True) for side in (0, 1)
    ]
    ids = [encoded["input_ids"] for encoded in sides]
    linked = [
        _linked(pair.links, *(encoded.word_ids(row) for encoded in sides))
        for row, pair in enumerate(pairs)
    ]
    with training.settled(seed):
        model = transformers.BertModel(
            transformers.BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                num_hidden_layers=LAYERS,
                num_attention_heads=4,
                intermediate_size=4 * WIDTH,
                max_position_embeddings=256,
                # The default suits wide models; in narrow ones almost nothing is told apart.
                initializer_range=WIDTH**-0.5,
            )
        )

        def states(side: int, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            batch = training.pad([ids[side][row] for row in rows], tokenizer.pad_token_id)
            hidden = model(
                input_ids=batch, attention_mask=(batch != tokenizer.pad_token_id).long()
            ).last_hidden_state
            return hidden, _is_special(batch, tokenizer)

        def loss(rows: np.ndarray) -> torch.Tensor:
            (source, source_special), (target, target_special) = states(0, rows), states(1, rows)
            scores = source @ target.mT
            wanted = torch.zeros_like(scores)
            for number, row in enumerate(rows):
                wanted[number][linked[row]] = 1
            scores = scores.masked_fill(source_special[:, :, None], -1e4)
            scores = scores.masked_fill(target_special[:, None, :], -1e4)
            found = [(scores.log_softmax(dim) * wanted).sum() / wanted.sum() for dim in (1, 2)]
            return -sum(found)

        lengths = np.array([len(source) + len(target) for source, target in zip(*ids, strict=True)])
        training.fit(model, loss, lengths, steps=steps, seed=seed)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _tokenizer(texts: Sequence[str], pieces: int) -> BertTokenizer:
    empty = checkpoints.library().BertTokenizer(do_lower_case=False)
    tokenizer: BertTokenizer = empty.train_new_from_iterator(texts, pieces, show_progress=False)
    tokenizer.model_max_length = 256
    return tokenizer


def _linked(
    links: Sequence[tuple[int, int]], source: Sequence[int | None], target: Sequence[int | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the sub-words whose words are linked, from the word of each sub-word."""
    pairs = set(links)
    places = [(i, j) for i, a in enumerate(source) for j, b in enumerate(target) if (a, b) in pairs]
    rows, columns = np.array(places, np.int64).reshape(-1, 2).T
    return rows, columns


def _is_special(batch: torch.Tensor, tokenizer: BertTokenizer) -> torch.Tensor:
    import torch

    return torch.isin(batch, torch.tensor(tokenizer.all_special_ids))
