"""A toy language model in the format of Llama that answers with translations, trained on a CPU."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from projner import checkpoints
from projner.demo import training

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WIDTH = 128
HEADS = 2
"""Of 64 numbers each: vLLM has no kernels for heads as small as the other toys'."""
POSITIONS = 256
BEGIN, END, PAD, ASKED, ANSWER = "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"
PROMPT = "{source_code} {target_code} {text}"
"""What it is trained to be asked; `translate.prompt` of a job that uses it."""
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}" + ASKED + "{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}" + ANSWER + "{% endif %}"
)


class Turn(NamedTuple):
    """A prompt and what is answered."""

    prompt: str
    answer: str


def train(
    turns: Sequence[Turn], folder: Path, *, steps: int = 2000, pieces: int = 2500, seed: int = 0
) -> None:
    """Train a language model on answers and save it as a checkpoint.

    The result is a tokenizer (byte pairs, a chat template) and a `LlamaForCausalLM` with 2 layers, for
    `AutoTokenizer` and `AutoModelForCausalLM`. It knows what it has seen, and little else.

    Args:
        turns: what it is asked, and what it answers; of this alone it learns.
        folder: where the checkpoint goes.
        steps: batches of about 512 sub-words to learn from.
        pieces: size of the vocabulary. Large ones learn fast, for names are few sub-words then.
        seed: of the weights, and of the order of the turns.
    """
    transformers = checkpoints.library()
    tokenizer = _tokenizer([text for turn in turns for text in turn], pieces)
    examples = [_example(tokenizer, turn) for turn in turns]
    with training.settled(seed):
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=HEADS,
                num_key_value_heads=HEADS,
                max_position_embeddings=POSITIONS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                # The default suits wide models; in narrow ones almost nothing is told apart.
                initializer_range=WIDTH**-0.5,
            )
        )

        def loss(rows: np.ndarray) -> object:
            ids = training.pad([examples[row][0] for row in rows], tokenizer.pad_token_id)
            return model(
                input_ids=ids,
                attention_mask=(ids != tokenizer.pad_token_id).long(),
                labels=training.pad([examples[row][1] for row in rows], training.IGNORED),
            ).loss

        lengths = np.array([len(ids) for ids, _ in examples])
        training.fit(model, loss, lengths, steps=steps, seed=seed)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _tokenizer(texts: Sequence[str], pieces: int) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    special = [PAD, BEGIN, END, "<unk>", ASKED, ANSWER]
    trainer = trainers.BpeTrainer(vocab_size=pieces, special_tokens=special, show_progress=False)
    backend.train_from_iterator([*texts, " ".join(string.printable.split())], trainer)
    tokenizer: PreTrainedTokenizerFast = checkpoints.library().PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        unk_token="<unk>",
        extra_special_tokens=[ASKED, ANSWER],
        model_max_length=POSITIONS,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _example(tokenizer: PreTrainedTokenizerFast, turn: Turn) -> tuple[list[int], list[int]]:
    """The sub-words of a turn, and what is learnt of each: to answer, and to end."""
    asked = tokenizer.encode(f"{BEGIN}{ASKED}{turn.prompt}{ANSWER}", add_special_tokens=False)
    answer = [*tokenizer.encode(turn.answer, add_special_tokens=False), tokenizer.eos_token_id]
    return [*asked, *answer], [*[training.IGNORED] * len(asked), *answer]
