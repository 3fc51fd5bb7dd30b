"""Models with random weights in the shapes of well-known ones, saved as real checkpoints.

What a model costs depends on its shape, not on what its weights have learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from projner import checkpoints
from projner.bench.sentences import CLASSES
from projner.errors import JobError

PIECES = 8000
LEARNT_FROM = 2000
"""Sentences that a vocabulary is made of."""


@dataclass(frozen=True)
class Shape:
    """Layers (of either side, in a translator), hidden size, size of the feed-forward layers."""

    layers: int
    width: int
    inner: int
    words: int = 0
    """Sub-words that a translator chooses from at every step; those of its tokenizer by default."""

    @property
    def heads(self) -> int:
        """Of 64 numbers each, as in nearly all models."""
        return max(2, self.width // 64)

    def __str__(self) -> str:
        return f"{self.layers}x{self.width}"


SHAPES = {
    "tiny": Shape(2, 32, 64),
    "small": Shape(6, 384, 1536),
    "base": Shape(12, 768, 3072),
    "large": Shape(24, 1024, 4096),
    "nllb-600m": Shape(12, 1024, 4096, 256_206),
}
"""small: MiniLM; base: mBERT and XLM-R base; large: XLM-R large."""


def shape(name: str, layers: int | None = None, width: int | None = None) -> Shape:
    """A shape by name, with other layers or another width. Raises JobError for an unknown name."""
    if name not in SHAPES:
        raise JobError(f"unknown shape {name!r}; choose one of {', '.join(SHAPES)}")
    chosen = SHAPES[name]
    if width is not None:
        chosen = replace(chosen, width=width, inner=4 * width)
    return chosen if layers is None else replace(chosen, layers=layers)


def tagger(folder: Path, sentences: Sequence[Sequence[str]], shape: Shape) -> None:
    """An XLM-R token classifier with a Unigram vocabulary of the sentences."""
    transformers = checkpoints.library()
    tokenizer = _learnt(transformers.XLMRobertaTokenizer(), sentences)
    labels = ["O", *(f"{prefix}-{name}" for name in CLASSES for prefix in "BI")]
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=514,
        type_vocab_size=1,
        # Wide enough that predictions differ from word to word.
        initializer_range=shape.width**-0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        **_encoder(shape),
    )
    with _random():
        model = transformers.XLMRobertaForTokenClassification(config)
    # Most words are in no entity.
    model.classifier.bias.data[0] = 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def encoder(folder: Path, sentences: Sequence[Sequence[str]], shape: Shape) -> None:
    """A BERT with a WordPiece vocabulary, in today's files and those that awesome-align reads."""
    import torch

    transformers = checkpoints.library()
    tokenizer = _learnt(transformers.BertTokenizer(do_lower_case=False), sentences)
    with _random():
        model = transformers.BertForMaskedLM(
            transformers.BertConfig(vocab_size=len(tokenizer), **_encoder(shape))
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(piece for piece, _ in pieces), encoding="utf-8")


def translator(
    folder: Path, sentences: Sequence[Sequence[str]], shape: Shape, languages: Sequence[str]
) -> None:
    """An NLLB-200 with byte pairs of the sentences. It hardly ever ends a translation by itself."""
    transformers = checkpoints.library()
    empty = transformers.NllbTokenizer(extra_special_tokens=list(languages))
    tokenizer = _learnt(empty, sentences)
    config = transformers.M2M100Config(
        vocab_size=max(shape.words, len(tokenizer)),
        d_model=shape.width,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.inner,
        decoder_ffn_dim=shape.inner,
        max_position_embeddings=1024,
        init_std=shape.width**-0.5,
    )
    with _random():
        transformers.M2M100ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _encoder(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
    }


def _learnt(tokenizer: Any, sentences: Sequence[Sequence[str]]) -> Any:
    texts = [" ".join(words) for words in sentences[:LEARNT_FROM]]
    learnt = tokenizer.train_new_from_iterator(texts, PIECES, show_progress=False)
    learnt.model_max_length = 512
    return learnt


@contextmanager
def _random() -> Iterator[None]:
    """The same random numbers every time, and those of others untouched."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
