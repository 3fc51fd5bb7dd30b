"""Word alignment: the stage `encoder` beside awesome-align's own loop."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from projner import checkpoints, config, devices
from projner.align.encoder import EncoderAligner
from projner.bench import measure, models, sentences
from projner.bench.measure import THEIR_ROWS, Report
from projner.bench.sentences import Pair
from projner.errors import JobError

OURS, THEIRS = "projner align", "awesome-align"
Links = list[Any]
"""What a side found, pair by pair, as it gives it."""
THEIR_WORKERS = 4
"""Processes that prepare awesome-align's batches by default."""


def bench(
    pairs: int = 512,
    repeats: int = 3,
    threads: int = 1,
    device: devices.Device = "auto",
    dtype: devices.Precision = "auto",
    shape: str = "small",
    layers: int | None = None,
    width: int | None = None,
    corpus: str | None = None,
) -> Report:
    """Align sentence pairs both ways (softmax), with the same weights on the same device.

    Args:
        pairs: how many sentence pairs.
        repeats: how often each side aligns them.
        threads: CPUs that a side uses. On a GPU, awesome-align has its processes beside that.
        device: what the model runs on.
        dtype: what ours computes in; `auto` is float32, which awesome-align knows alone, and then
            bfloat16 where the device has it.
        shape: of a BERT with random weights, a name of `models.SHAPES`; `base` is mBERT's.
        layers: of it, instead of the shape's.
        width: likewise.
        corpus: a file of lines `source ||| target`; made-up ones by default.

    Raises:
        JobError: what the arguments name cannot be had.
    """
    checkpoints.library()
    devices.use_threads(threads)
    form = models.shape(shape, layers, width)
    found = sentences.read_pairs(corpus, pairs) if corpus else sentences.pairs(pairs)
    table = sentences.as_table(found)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models.encoder(
            folder, [side for pair in found for side in (pair.source, pair.target)], form
        )
        # The place that the eighth has in mBERT.
        layer = max(1, round(form.layers * 2 / 3))
        peer = AwesomeAlign(folder, layer, devices.choose_device(device))
        aligners = {}
        for precision in _precisions(dtype, peer.device):
            aligner = EncoderAligner(
                config.Encoder(
                    engine="encoder", model=name, layer=layer, device=device, dtype=precision
                )
            )
            aligner.setup(threads)
            aligners[f"{OURS} {precision}"] = aligner

        def ours(aligner: EncoderAligner, table: pa.Table = table) -> Links:
            parts = [aligner(part)["links"] for part in measure.batches(table)]
            return [row for part in parts for row in part.to_pylist()]

        sides: dict[str, Callable[[], Links]] = {
            name: partial(ours, aligner) for name, aligner in aligners.items()
        }
        sides[THEIRS] = partial(peer.align, found)
        for aligner in aligners.values():
            ours(aligner, table.slice(0, THEIR_ROWS))
        peer.align(found[:THEIR_ROWS])
        measured = measure.in_turn(sides, repeats)
    expected = [_theirs(line) for line in measured[THEIRS].results[0]]
    same = {
        name: measure.same_share([_ours(row) for row in measured[name].results[0]], expected)
        for name in aligners
    }
    padding = {THEIRS: peer.padding(found)}
    for name, aligner in aligners.items():
        counted = aligner.counters()
        padding[name] = counted["padding"] / (counted["padding"] + counted["tokens"])
    rows = measure.beside(measured, len(found), "pairs", padding)
    return Report(
        f"aligning {len(found):,} sentence pairs",
        [{**row, "same links": round(same.get(row["side"], 1), 4)} for row in rows],
        next(iter(same.values())),
        [
            "same links: the share of pairs that get the links of awesome-align.",
            measure.HOW,
            f"awesome-align takes {THEIR_ROWS} pairs at once, in corpus order, in float32.",
        ],
        measure.signature(
            ["torch", "transformers", "awesome-align"],
            device=peer.device,
            threads=threads,
            model=f"bert:{form}",
            layer=layer,
            corpus=corpus or "made-up",
            repeats=repeats,
        ),
    )


def _precisions(asked: devices.Precision, device: str) -> list[devices.Precision]:
    if asked != "auto":
        return [asked]
    return ["float32", *(["bfloat16"] if devices.computes_in_bfloat16(device) else [])]  # type: ignore[list-item]


class AwesomeAlign:
    """The package awesome-align with a checkpoint, as its own command runs it.

    Raises JobError if it is not installed.
    """

    def __init__(self, folder: Path, layer: int, device: str) -> None:
        try:
            from awesome_align import modeling, run_align
            from awesome_align.configuration_bert import BertConfig
            from awesome_align.tokenization_bert import BertTokenizer
        except ImportError as error:
            raise JobError(
                f"the benchmark needs awesome-align ({error}): pip install 'projner[awesome-align]'"
            ) from None
        self.device = device
        self._loop = run_align.word_align
        self._tokenizer = BertTokenizer.from_pretrained(str(folder), do_lower_case=False)
        modeling.PAD_ID = self._tokenizer.pad_token_id
        modeling.CLS_ID = self._tokenizer.cls_token_id
        modeling.SEP_ID = self._tokenizer.sep_token_id
        self._model = modeling.BertForMaskedLM.from_pretrained(
            str(folder), config=BertConfig.from_pretrained(str(folder))
        )
        self._options = Namespace(
            data_file=str(folder / "pairs"),
            output_file=str(folder / "links"),
            output_prob_file=None,
            output_word_file=None,
            batch_size=THEIR_ROWS,
            align_layer=layer,
            extraction="softmax",
            softmax_threshold=0.001,
            device=device,
            # On a CPU they would take more of them than the other side has.
            num_workers=0 if device == "cpu" else THEIR_WORKERS,
        )

    def align(self, pairs: Sequence[Pair]) -> list[str]:
        """Links of each pair, as Pharaoh lines. It reads and writes files: that is its way."""
        lines = [f"{' '.join(pair.source)} ||| {' '.join(pair.target)}\n" for pair in pairs]
        Path(self._options.data_file).write_text("".join(lines), encoding="utf-8")
        self._loop(self._options, self._model, self._tokenizer)
        return Path(self._options.output_file).read_text(encoding="utf-8").splitlines()

    def padding(self, pairs: Sequence[Pair]) -> float:
        """The share of padding in its batches, both sides together."""
        sides = zip(*((pair.source, pair.target) for pair in pairs), strict=True)
        lengths = [
            [sum(len(self._tokenizer.tokenize(word)) for word in words) + 2 for words in side]
            for side in sides
        ]
        return measure.padding_in_order(*lengths)


def _ours(row: list[dict[str, Any]]) -> set[tuple[int, int]]:
    return {(link["source"], link["target"]) for link in row}


def _theirs(line: str) -> set[tuple[int, int]]:
    ends = (link.split("-") for link in line.split())
    return {(int(source), int(target)) for source, target in ends}
