"""A toy tagger in the format of XLM-R, trained in seconds on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from projner import checkpoints
from projner.demo import training
from projner.tags import IOB2, Span, to_spans, to_tags

if TYPE_CHECKING:
    from transformers import XLMRobertaTokenizer

WIDTH = 64
VARIANTS = 3
"""Times that each sentence is learnt from with other names, beside once with its own."""


def train(
    sentences: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    folder: Path,
    *,
    texts: Sequence[str] = (),
    steps: int = 600,
    pieces: int = 1500,
    heads: int = 4,
    seed: int = 0,
) -> None:
    """Train a tagger and save it as a checkpoint.

    The result is an `XLMRobertaTokenizer` (a Unigram vocabulary) and an
    `XLMRobertaForTokenClassification` with one layer, for `AutoTokenizer` and
    `AutoModelForTokenClassification`. As is usual, a word's tag is that of its first sub-word. Names
    are replaced by others of their class (mention replacement, arXiv 2010.11683), so that few
    sentences teach it what may stand where.

    Args:
        sentences: words of each sentence.
        tags: IOB2 tags, one for each word.
        folder: where the checkpoint goes.
        texts: further texts, perhaps of other languages, that the vocabulary should know.
        steps: batches of about 512 sub-words to learn from.
        pieces: size of the vocabulary.
        heads: of attention, among which `WIDTH` is shared out.
        seed: of the weights, the names, and the order of the sentences.
    """
    transformers = checkpoints.library()
    names = ["O", *sorted({tag for line in tags for tag in line} - {"O"})]
    tokenizer = _tokenizer([*map(" ".join, sentences), *texts], pieces)
    examples = _examples(sentences, tags, np.random.default_rng(seed))
    encoded = tokenizer([words for words, _ in examples], is_split_into_words=True)
    ids = encoded["input_ids"]
    labels = [
        _labels(encoded.word_ids(row), [names.index(tag) for tag in line])
        for row, (_, line) in enumerate(examples)
    ]
    with training.settled(seed):
        model = transformers.XLMRobertaForTokenClassification(
            transformers.XLMRobertaConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                num_hidden_layers=1,
                num_attention_heads=heads,
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


def _examples(
    sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], chance: np.random.Generator
) -> list[tuple[list[str], list[str]]]:
    """Words and tags of each sentence, as it is and in `VARIANTS`."""
    spans = [to_spans(line, IOB2) for line in tags]
    names: dict[str, dict[tuple[str, ...], None]] = {}
    for words, found in zip(sentences, spans, strict=True):
        for start, end, label in found:
            names.setdefault(label, {})[tuple(words[start:end])] = None
    choices = {label: list(known) for label, known in names.items()}
    originals = [(list(words), list(line)) for words, line in zip(sentences, tags, strict=True)]
    return originals + [
        _renamed(words, found, choices, chance)
        for _ in range(VARIANTS)
        for words, found in zip(sentences, spans, strict=True)
    ]


def _renamed(
    words: Sequence[str],
    spans: Sequence[Span],
    names: dict[str, list[tuple[str, ...]]],
    chance: np.random.Generator,
) -> tuple[list[str], list[str]]:
    """A sentence with other names of the same classes, and its tags."""
    renamed: list[str] = []
    moved: list[Span] = []
    done = 0
    for start, end, label in spans:
        renamed += words[done:start]
        name = names[label][chance.integers(len(names[label]))]
        moved.append(Span(len(renamed), len(renamed) + len(name), label))
        renamed += name
        done = end
    renamed += words[done:]
    return renamed, to_tags(moved, len(renamed))


def _labels(words: Sequence[int | None], tags: Sequence[int]) -> list[int]:
    """The tag of each word at its first sub-word, and nothing to learn elsewhere."""
    before = [None, *words[:-1]]
    return [
        training.IGNORED if word is None or word == last else tags[word]
        for word, last in zip(words, before, strict=True)
    ]
