"""A toy translator in the format of NLLB-200, trained in seconds on a CPU."""

from __future__ import annotations

import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from projner import checkpoints
from projner.demo import training

if TYPE_CHECKING:
    from transformers import NllbTokenizer

WIDTH = 64
POSITIONS = 256


def train(
    parallel: Sequence[Mapping[str, str]],
    folder: Path,
    *,
    sources: Collection[str] | None = None,
    texts: Iterable[str] | None = None,
    steps: int = 1200,
    pieces: int = 2500,
    seed: int = 0,
) -> None:
    """Train a translator between the languages of `parallel` and save it as a checkpoint.

    The result is an `NllbTokenizer` (a vocabulary of byte pairs, the languages' codes among its
    special tokens) and an `M2M100ForConditionalGeneration` with 2 layers on either side, for
    `AutoTokenizer` and `AutoModelForSeq2SeqLM`. It knows what it has seen, and little else.

    Args:
        parallel: sentences; of each, its text by FLORES-200 code. Every text is translated into
            every other one of its sentence.
        folder: where the checkpoint goes.
        sources: the languages that are translated from; all by default.
        texts: what the vocabulary is made from; by default the sentences.
        steps: batches of about 512 sub-words to learn from.
        pieces: size of the vocabulary. Large ones learn fast, for names are few sub-words then.
        seed: of the weights, and of the order of the sentences.
    """
    transformers = checkpoints.library()
    tokenizer = _tokenizer(parallel, texts, pieces)
    examples = _examples(parallel, sources, tokenizer)
    with training.settled(seed):
        model = transformers.M2M100ForConditionalGeneration(
            transformers.M2M100Config(
                vocab_size=len(tokenizer),
                d_model=WIDTH,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                encoder_ffn_dim=4 * WIDTH,
                decoder_ffn_dim=4 * WIDTH,
                dropout=0.1,
                attention_dropout=0.0,
                encoder_layerdrop=0.0,
                decoder_layerdrop=0.0,
                # The default suits wide models; in narrow ones almost nothing is told apart.
                init_std=WIDTH**-0.5,
                max_position_embeddings=POSITIONS,
            )
        )

        def loss(rows: np.ndarray) -> object:
            source = training.pad([examples[row][0] for row in rows], tokenizer.pad_token_id)
            return model(
                input_ids=source,
                attention_mask=(source != tokenizer.pad_token_id).long(),
                labels=training.pad([examples[row][1] for row in rows], training.IGNORED),
            ).loss

        lengths = np.array([len(source) + len(target) for source, target in examples])
        training.fit(model, loss, lengths, steps=steps, seed=seed)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _tokenizer(
    parallel: Sequence[Mapping[str, str]], texts: Iterable[str] | None, pieces: int
) -> NllbTokenizer:
    languages = sorted({language for sentence in parallel for language in sentence})
    if texts is None:
        texts = [text for sentence in parallel for text in sentence.values()]
    empty = checkpoints.library().NllbTokenizer(extra_special_tokens=languages)
    tokenizer: NllbTokenizer = empty.train_new_from_iterator(
        [*texts, " ".join(string.printable.split())], pieces, show_progress=False
    )
    tokenizer.model_max_length = POSITIONS
    return tokenizer


def _examples(
    parallel: Sequence[Mapping[str, str]],
    sources: Collection[str] | None,
    tokenizer: NllbTokenizer,
) -> list[tuple[list[int], list[int]]]:
    """Source and target of every direction of every sentence, framed as NLLB-200 has them."""
    examples: list[tuple[list[int], list[int]]] = []
    for sentence in parallel:
        framed = {}
        for language, text in sentence.items():
            ids = tokenizer.encode(text, add_special_tokens=False)
            code = tokenizer.convert_tokens_to_ids(language)
            framed[language] = [code, *ids, tokenizer.eos_token_id]
        examples += [
            (framed[source], framed[target])
            for source, target in permutations(framed, 2)
            if sources is None or source in sources
        ]
    return examples
