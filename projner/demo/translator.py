"""A toy translator in the format of NLLB-200, trained in seconds on a CPU."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from projner import checkpoints

if TYPE_CHECKING:
    import torch
    from transformers import NllbTokenizer

WIDTH = 64
BATCH_TOKENS = 512
LEARNING_RATE = 4e-3


def train(
    parallel: Sequence[Mapping[str, str]],
    folder: Path,
    *,
    steps: int = 300,
    pieces: int = 600,
    seed: int = 0,
) -> None:
    """Train a translator between the languages of `parallel` and save it as a checkpoint.

    The result is an `NllbTokenizer` and an `M2M100ForConditionalGeneration` with 2 layers on each
    side, for `AutoTokenizer` and `AutoModelForSeq2SeqLM`. It knows what it has seen, and little else.

    Args:
        parallel: sentences; of each, its text by FLORES-200 code. Every text is translated into
            every other one of its sentence.
        folder: where the checkpoint goes.
        steps: batches of about 512 sub-words to learn from.
        pieces: size of the vocabulary.
        seed: of the weights, and of the order of the sentences.
    """
    import torch

    transformers = checkpoints.library()
    tokenizer = _tokenizer(parallel, pieces)
    threads = torch.get_num_threads()
    # So small a model is slower on several.
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
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
                    init_std=WIDTH**-0.5,
                    max_position_embeddings=256,
                )
            )
            _fit(model, _encode(parallel, tokenizer), steps, np.random.default_rng(seed))
    finally:
        torch.set_num_threads(threads)
    tokenizer.save_pretrained(folder)
    model.eval().save_pretrained(folder)


def _tokenizer(parallel: Sequence[Mapping[str, str]], pieces: int) -> NllbTokenizer:
    """Byte pairs of the texts, and their languages' codes as special tokens."""
    languages = sorted({language for texts in parallel for language in texts})
    texts = [text for sentence in parallel for text in sentence.values()]
    empty = checkpoints.library().NllbTokenizer(extra_special_tokens=languages)
    tokenizer: NllbTokenizer = empty.train_new_from_iterator(
        [*texts, " ".join(string.printable.split())], pieces, show_progress=False
    )
    tokenizer.model_max_length = 256
    return tokenizer


def _encode(
    parallel: Sequence[Mapping[str, str]], tokenizer: NllbTokenizer
) -> list[tuple[list[int], list[int]]]:
    """Source and target ids of every direction of every sentence, as NLLB frames them."""
    backend, end = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    examples = []
    for sentence in parallel:
        framed = [
            [
                tokenizer.convert_tokens_to_ids(language),
                *backend.encode(text, add_special_tokens=False).ids,
                end,
            ]
            for language, text in sentence.items()
        ]
        examples += list(permutations(framed, 2))
    return examples


def _fit(
    model: torch.nn.Module,
    examples: list[tuple[list[int], list[int]]],
    steps: int,
    chance: np.random.Generator,
) -> None:
    import torch

    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    lengths = np.array([len(source) + len(target) for source, target in examples])
    step = 0
    model.train()
    while step < steps:
        for rows in _batches(lengths, chance):
            if step == steps:
                return
            source = _pad([examples[row][0] for row in rows], 1)
            target = _pad([examples[row][1] for row in rows], -100)
            model(
                input_ids=source, attention_mask=(source != 1).long(), labels=target
            ).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            step += 1


def _batches(lengths: np.ndarray, chance: np.random.Generator) -> list[np.ndarray]:
    """All rows once, in batches of rows of like length, at random."""
    order = np.argsort(lengths + chance.uniform(0, 4, len(lengths)))
    filled = np.cumsum(lengths[order]) // BATCH_TOKENS
    batches = np.split(order, np.flatnonzero(np.diff(filled)) + 1)
    return [batches[n] for n in chance.permutation(len(batches))]


def _pad(rows: list[list[int]], filler: int) -> torch.Tensor:
    import torch

    width = max(map(len, rows))
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])
