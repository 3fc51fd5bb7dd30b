"""Translation: the stage `translate` beside the `generate` of transformers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa

from projner import checkpoints, config, devices
from projner.bench import measure, models, sentences
from projner.bench.measure import THEIR_ROWS, Report
from projner.translate import Translator, checks, resolve

OURS, THEIRS = "projner translate", "transformers generate"
LANGUAGES = "eng_Latn", "swh_Latn"
WARM_ROWS = 4
CUT = (
    "Random weights never end a translation: on either side, a batch goes on for as many sub-words "
    "as its longest text has, and 20 more."
)


def bench(
    rows: int = 64,
    repeats: int = 3,
    threads: int = 1,
    device: devices.Device = "auto",
    dtype: str = "auto",
    beams: int = 4,
    shape: str = "small",
    layers: int | None = None,
    width: int | None = None,
    model: str | None = None,
    corpus: str | None = None,
) -> Report:
    """Translate sentences from English to Swahili both ways, with the same weights.

    Args:
        rows: how many sentences.
        repeats: how often each side translates them.
        threads: CPUs that a side uses.
        device: what the model runs on.
        dtype: what ours computes in; `auto` is int8 on a CPU and float16 on a GPU. The other side's
            is the same where torch has it, and else what suits the device.
        beams: of the search.
        shape: of an NLLB-200 with random weights, a name of `models.SHAPES`.
        layers: of its encoder and of its decoder, instead of the shape's.
        width: likewise.
        model: a checkpoint in its place, which knows `LANGUAGES`.
        corpus: a file of sentences, one a line; made-up ones by default.

    Raises:
        JobError: what the arguments name cannot be had.
    """
    checkpoints.library()
    devices.use_threads(threads)
    form = models.shape(shape, layers, width)
    found = sentences.read(corpus, rows) if corpus else sentences.sentences(rows)
    texts = [" ".join(words) for words in found]
    with tempfile.TemporaryDirectory() as folder, _cache(folder):
        if model is None:
            models.translator(Path(folder), found, form, LANGUAGES)
        section = config.Translate(
            model=model or folder,
            device=device,
            dtype=dtype,
            beam_size=beams,
            **({} if model else {"max_length_ratio": 1.0}),
        )
        translator = Translator(section, "source")
        translator.setup(threads)
        peer = Generate(section)
    table = _table(texts)

    def ours(table: pa.Table = table) -> list[str]:
        parts = [translator(part)["target_text"] for part in measure.batches(table)]
        return [text for part in parts for text in part.to_pylist()]

    def theirs(texts: Sequence[str] = texts) -> list[str]:
        return peer.translate(texts)

    ours(table.slice(0, WARM_ROWS))
    theirs(texts[:WARM_ROWS])
    measured = measure.in_turn({OURS: ours, THEIRS: theirs}, repeats)
    pairs = zip(measured[OURS].results[0], measured[THEIRS].results[0], strict=True)
    same = sum(a.startswith(b) or b.startswith(a) for a, b in pairs) / len(texts)
    counted = translator.counters()
    share = counted["padding"] / (counted["padding"] + counted["tokens"])
    padding = {OURS: share, THEIRS: measure.padding_in_order(peer.lengths(texts))}
    return Report(
        f"translating {len(texts):,} sentences",
        measure.beside(measured, len(texts), "sentences", padding),
        same,
        [
            f"{same:.2%} of the translations are equal as far as both go; nearly all should be "
            "with --dtype float32 --beams 1.",
            measure.HOW,
            f"generate takes {THEIR_ROWS} sentences at once, in corpus order.",
            *([] if model else [CUT]),
            f"projner computes in {resolve(section).dtype}, generate in {peer.dtype}.",
        ],
        measure.signature(
            ["torch", "transformers", "ctranslate2"],
            device=peer.device,
            threads=threads,
            beams=beams,
            model=model or f"nllb:{form}",
            corpus=corpus or "made-up",
            repeats=repeats,
        ),
    )


class Generate:
    """The way that a model card shows."""

    def __init__(self, section: config.Translate) -> None:
        transformers = checkpoints.library()
        self.device = devices.choose_device(section.device)
        asked: Any = section.dtype if section.dtype in get_args(devices.Precision) else "auto"
        dtype = devices.choose_dtype(asked, self.device)
        self.dtype = str(dtype).removeprefix("torch.")
        self._section = section
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(
            section.model, src_lang=LANGUAGES[0]
        )
        self._model = transformers.AutoModelForSeq2SeqLM.from_pretrained(section.model, dtype=dtype)
        self._model.eval().to(self.device)

    def translate(self, texts: Sequence[str]) -> list[str]:
        import torch

        made: list[str] = []
        for start in range(0, len(texts), THEIR_ROWS):
            batch = self._tokenizer(
                list(texts[start : start + THEIR_ROWS]), return_tensors="pt", padding=True
            ).to(self.device)
            # Without the language and the end.
            longest = batch["input_ids"].shape[1] - 2
            limit = self._model.config.max_position_embeddings
            with torch.inference_mode():
                found = self._model.generate(
                    **batch,
                    forced_bos_token_id=self._tokenizer.convert_tokens_to_ids(LANGUAGES[1]),
                    num_beams=self._section.beam_size,
                    max_length=None,
                    max_new_tokens=checks.cap(longest, self._section.max_length_ratio, limit) + 2,
                )
            made += self._tokenizer.batch_decode(found, skip_special_tokens=True)
        return made

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Sub-words of each text, special ones included."""
        return [*map(len, self._tokenizer(list(texts))["input_ids"])]


@contextmanager
def _cache(folder: str) -> Iterator[None]:
    """Converted models go where they are deleted with the model."""
    before = os.environ.get("PROJNER_CACHE")
    os.environ["PROJNER_CACHE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["PROJNER_CACHE"]
        else:
            os.environ["PROJNER_CACHE"] = before


def _table(texts: Sequence[str]) -> pa.Table:
    return pa.table(
        {
            "source_text": texts,
            "source_lang": [LANGUAGES[0]] * len(texts),
            "target_lang": [LANGUAGES[1]] * len(texts),
            "status": ["ok"] * len(texts),
            "status_detail": pa.nulls(len(texts), pa.string()),
        }
    )
