"""Word links by the package awesome-align itself (Dou and Neubig 2021).

Its own tokenizer, model and extraction; only the files and the batches in corpus order, which its
command has around them, are not used. `encoder` finds the same links faster, with any encoder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from projner import batching, checkpoints, devices, record, stage
from projner.align.reading import layers
from projner.batching import Padding
from projner.config import AwesomeAlign
from projner.errors import JobError
from projner.record import Status
from projner.stage import Stage

CPU_TOKENS = 2048
GPU_TOKENS = 16_384


class AwesomeAligner(Stage):
    """Fills `links` with those of awesome-align, each with the probability that it gives.

    A pair with a side that is longer than the model gets the status `alignment_failed`, because the
    package cuts what is too long.
    """

    name: ClassVar[str] = "awesome-align"
    room: ClassVar[str | None] = "align"
    inputs = ("source_tokens", "target_tokens")
    outputs = ("links",)

    def __init__(self, config: AwesomeAlign, checkpoint: Path | None = None) -> None:
        """An aligner with the model of `config`, or with what `checkpoint` has made of it.

        Raises JobError when the package is not installed.
        """
        _library()
        self.config = config
        self._checkpoint = checkpoint

    def resolved(self) -> AwesomeAligner:
        return self

    def settings(self) -> dict[str, Any]:
        kept = self.config.model_dump(mode="json", exclude={"batch_tokens", "device", "fine_tune"})
        return {**kept, "model": checkpoints.identity(self.config.model)}

    def with_checkpoint(self, folder: Path) -> AwesomeAligner:
        """This aligner with a checkpoint in place of its model."""
        return AwesomeAligner(self.config, folder)

    def fetch(self) -> None:
        if self._checkpoint is None:
            checkpoints.fetch(self.config.model, self.config.revision)

    def setup(self, cpus: float | None = None) -> None:
        if cpus is not None:
            devices.use_threads(cpus)
        self._device = devices.choose_device(self.config.device)
        default = CPU_TOKENS if self._device == "cpu" else GPU_TOKENS
        self._budget = self.config.batch_tokens or default
        self._tokenizer, self._model = _load(self.config, self._checkpoint)
        self._model.eval().to(self._device)
        self._padding = Padding()
        self._seconds = 0.0
        self._pairs = 0

    def counters(self) -> Mapping[str, float]:
        return {
            "pairs": self._pairs,
            "tokens": self._padding.tokens,
            "padding": self._padding.padding,
            "seconds": self._seconds,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        began = time.perf_counter()
        sides = [[self._pieces(row) for row in table[name].to_pylist()] for name in self.inputs]
        lengths = np.array([[len(ids) for ids, _ in side] for side in sides])
        limit = self._tokenizer.max_len_single_sentence
        long = (lengths > limit).any(0)
        readable = np.flatnonzero((lengths > 0).all(0) & ~long)
        links: list[list[dict[str, Any]]] = [[] for _ in range(table.num_rows)]
        for batch in batching.pack(lengths.sum(0)[readable] + 4, self._budget):
            for rows, found in devices.halving(
                lambda rows: self._align([[side[row] for row in rows] for side in sides]),
                readable[batch],
            ):
                for row, row_links in zip(rows, found, strict=True):
                    links[row] = row_links
                for side_lengths in lengths:
                    self._padding.add(side_lengths[rows] + 2)
        column = pa.array(links, record.type_of("links"))
        column = column.take(pa.array(np.arange(len(links)), mask=long))
        table = record.with_column(table, "links", column)
        self._pairs += table.num_rows
        self._seconds += time.perf_counter() - began
        detail = f"a side of more than {limit} sub-words, which the model does not read"
        return stage.with_status(table, long, Status.ALIGNMENT_FAILED, [detail] * int(long.sum()))

    def _pieces(self, words: list[str]) -> tuple[list[int], list[int]]:
        """The sub-words of a sentence, and the word of each."""
        pieces = [self._tokenizer.tokenize(word) for word in words]
        ids = self._tokenizer.convert_tokens_to_ids([*chain.from_iterable(pieces)])
        return ids, [number for number, word in enumerate(pieces) for _ in word]

    def _align(self, sides: list[list[tuple[list[int], list[int]]]]) -> list[list[dict[str, Any]]]:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        grids = [
            pad_sequence(
                [
                    torch.tensor(self._tokenizer.build_inputs_with_special_tokens(ids))
                    for ids, _ in side
                ],
                batch_first=True,
                padding_value=self._tokenizer.pad_token_id,
            )
            for side in sides
        ]
        words = [[owners for _, owners in side] for side in sides]
        found = self._model.get_aligned_word(
            *grids,
            *words,
            self._device,
            0,
            0,
            align_layer=self.config.layer,
            extraction=self.config.method,
            softmax_threshold=self.config.threshold,
            test=True,
            output_prob=True,
        )
        return [
            [
                {"source": source, "target": target, "score": float(score)}
                for (source, target), score in sorted(row.items())
            ]
            for row in found
        ]


def _library() -> Any:
    try:
        from awesome_align import modeling
    except ImportError as error:
        raise JobError(
            f"align.engine awesome-align is not installed ({error}): pip install "
            "'projner[awesome-align]'"
        ) from None
    return modeling


def _load(config: AwesomeAlign, checkpoint: Path | None) -> tuple[Any, Any]:
    """The package's tokenizer and model, with the weights of a checkpoint of any age.

    The package reads neither safetensors nor the files of today's tokenizers.
    """
    import torch
    from awesome_align.configuration_bert import BertConfig
    from awesome_align.tokenization_bert import BertTokenizer

    modeling = _library()
    model, revision = config.model, config.revision
    if checkpoint is not None:
        model, revision = str(checkpoint), None
    settings = checkpoints.load_config(model, revision)
    if settings.model_type != "bert":
        raise JobError(
            f"{model}: is a {settings.model_type}, and awesome-align knows BERT alone; use engine "
            "encoder"
        )
    layers(settings, model, config.layer)
    weights = checkpoints.load_model(
        "AutoModel", model, revision=revision, dtype=torch.float32, device="cpu"
    )
    theirs = modeling.BertForMaskedLM(BertConfig.from_dict(settings.to_dict()))
    missing, _ = theirs.bert.load_state_dict(weights.state_dict(), strict=False)
    if missing:
        raise JobError(f"{model}: has no weights for {', '.join(missing[:3])}; use engine encoder")
    tokenizer: Any = checkpoints.load_tokenizer(model, revision)
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as vocabulary:
        vocabulary.write("".join(f"{piece}\n" for piece, _ in pieces))
        vocabulary.flush()
        lower = getattr(tokenizer.backend_tokenizer.normalizer, "lowercase", False)
        ours = BertTokenizer(
            vocabulary.name,
            do_lower_case=lower,
            max_len=settings.max_position_embeddings,
        )
    # The package has these in its module, which its command sets as well.
    modeling.PAD_ID = ours.pad_token_id
    modeling.CLS_ID = ours.cls_token_id
    modeling.SEP_ID = ours.sep_token_id
    return ours, theirs
