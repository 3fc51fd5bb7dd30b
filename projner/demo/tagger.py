"""A toy tagger in the format of XLM-R, trained in seconds on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from projner import checkpoints
from projner.demo import training

if TYPE_CHECKING:
    from transformers import XLMRobertaTokenizer

WIDTH = 64


def train(
    sentences: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    folder: Path,
    *,
    texts: Sequence[str] = (),
    steps: int = 200,
    pieces: int = 800,
    seed: int = 0,
) -> None:
    """Train a tagger and save it as a checkpoint.

    The result is an `XLMRobertaTokenizer` (a Unigram vocabulary) and an
    `XLMRobertaForTokenClassification` with 2 layers, for `AutoTokenizer` and
    `AutoModelForTokenClassification`. As usual, a word's tag is that of its first sub-word.

    Args:
        sentences: words of each sentence.
        tags: IOB2 tags, one for each word.
        folder: where the checkpoint goes.
        texts: further texts, perhaps of other languages, that the vocabulary should know.
        steps: batches of about 512 sub-words to learn from.
        pieces: size of the vocabulary.
        seed: of the weights, and of the order of the sentences.
    """
    transformers = checkpoints.library()
    names = ["O", *sorted({tag for line in tags for tag in line} - {"O"})]
    tokenizer = _tokenizer([*map(" ".join, sentences), *texts], pieces)
    encoded = tokenizer(list(map(list, sentences)), is_split_into_words=True)
    ids = encoded["input_ids"]
    labels = [
        _labels(encoded.word_ids(row), [names.index(tag) for tag in line])
        for row, line in enumerate(tags)
    ]
    with training.settled(seed):
        model = transformers.XLMRobertaForTokenClassification(
            transformers.XLMRobertaConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=4 * WIDTH,
                max_position_embeddings=258,
                type_vocab_size=1,
                # The default suits wide models; in narrow ones almost nothing is told apart.
                initializer_range=WIDTH**-0.5,
                id2label=dict(enumerate(names)),
                label2id={name: number for number, name in enumerate(names)},
            )
        )

        def loss(rows: np.ndarray) -> object:
            batch = training.pad([ids[row] for row in rows], tokenizer.pad_token_id)
            return model(
                input_ids=batch,
                attention_mask=(batch != tokenizer.pad_token_id).long(),
                labels=training.pad([labels[row] for row in rows], training.IGNORED),
            ).loss

        training.fit(model, loss, np.array([len(row) for row in ids]), steps=steps, seed=seed)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _tokenizer(texts: Sequence[str], pieces: int) -> XLMRobertaTokenizer:
    empty = checkpoints.library().XLMRobertaTokenizer()
    tokenizer: XLMRobertaTokenizer = empty.train_new_from_iterator(
        texts, pieces, show_progress=False
    )
    tokenizer.model_max_length = 256
    return tokenizer


def _labels(words: Sequence[int | None], tags: Sequence[int]) -> list[int]:
    """The tag of each word at its first sub-word, and nothing to learn elsewhere."""
    before = [None, *words[:-1]]
    return [
        training.IGNORED if word is None or word == last else tags[word]
        for word, last in zip(words, before, strict=True)
    ]
