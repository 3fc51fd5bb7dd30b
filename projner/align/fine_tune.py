"""An aligner's encoder trained on the pairs that it will align, without labels (Dou and Neubig 2021)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from projner import checkpoints, config, devices
from projner.align import extraction, objectives
from projner.align.awesome import AwesomeAligner
from projner.align.encoder import EncoderAligner
from projner.align.hidden import Layer
from projner.align.reading import Reader, Sentences, layers
from projner.align.sample import WORDS, sample
from projner.errors import JobError
from projner.stage import Stage

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

LONGEST = 128
"""Sub-words of a side; pairs with more are not learnt from."""
MASKING = {"tlm", "mlm"}
_LOSSES = "losses.json"
_TENTHS = 10


class FineTuned(Stage):
    """An aligner whose model first learns from a sample of the corpus.

    What it learns is a checkpoint of transformers, from which every actor aligns.
    """

    version: ClassVar[int] = 1
    learns: ClassVar[bool] = True
    room: ClassVar[str | None] = "align"

    def __init__(self, aligner: EncoderAligner | AwesomeAligner, tune: config.FineTune) -> None:
        self.name = f"{aligner.name}+fine_tune"  # type: ignore[misc]
        self.inputs = tuple(dict.fromkeys([*aligner.inputs, "source_lang", "target_lang"]))
        self.outputs = aligner.outputs
        self._aligner = aligner
        self._tune = tune

    def resolved(self) -> FineTuned:
        return FineTuned(self._aligner.resolved(), self._tune)

    def settings(self) -> dict[str, Any]:
        aligner = {**self._aligner.settings(), "version": self._aligner.version}
        return {**aligner, "fine_tune": self._tune.model_dump(mode="json")}

    def fetch(self) -> None:
        self._aligner.fetch()

    def learn(self, tables: Iterable[pa.Table], folder: Path) -> None:
        pairs = sample(tables, self._tune.sample, LONGEST, ["source_lang", "target_lang"])
        losses = train(self._aligner.config, self._tune, pairs, folder)
        (folder / _LOSSES).write_text(json.dumps(losses, indent=1), encoding="utf-8")

    def recall(self, folder: Path) -> Stage:
        return self._aligner.with_checkpoint(folder)

    def __call__(self, table: pa.Table) -> pa.Table:
        raise NotImplementedError("learn first, and call what `recall` gives")


def train(
    section: config.Encoder | config.AwesomeAlign,
    tune: config.FineTune,
    pairs: pa.Table,
    folder: Path,
) -> dict[str, list[float]]:
    """Train the model of `section` and save it in `folder`, with its tokenizer.

    Returns each objective's loss: the means of up to ten stretches of equal length, from first to
    last.

    Raises JobError for a model that cannot be loaded, lacks the layer or what an objective needs,
    and where training diverges.
    """
    import torch

    trained = _Trained(section, tune)
    corpus = trained.read(pairs)
    losses: dict[str, list[float]] = {name: [] for name in tune.objectives}
    here = [torch.cuda.current_device()] if trained.device == "cuda" else []
    with torch.random.fork_rng(devices=here):
        torch.manual_seed(tune.seed)
        parameters = [each for module in trained.modules for each in module.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=tune.learning_rate, weight_decay=0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / tune.steps)
        for batch in _batches(corpus, tune):
            for found in trained.losses(batch):
                # At once, so that the activations of one pass alone are held.
                torch.stack([*found.values()]).sum().backward()
                for name, loss in found.items():
                    losses[name].append(loss.item())
            if not all(np.isfinite(each[-1]) for each in losses.values()):
                raise JobError(
                    f"{section.model}: fine-tuning diverges; lower align.fine_tune.learning_rate"
                )
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
    trained.save(folder)
    return {name: _tenths(each) for name, each in losses.items()}


@dataclass(frozen=True)
class _Side:
    """One side's sentences, as the model reads them, with the word of each sub-word or -1."""

    ids: list[list[int]]
    words: list[list[int]]

    def take(self, rows: Sequence[int]) -> _Side:
        return _Side([self.ids[row] for row in rows], [self.words[row] for row in rows])


_Batch = tuple[_Side, _Side]


class _Trained:
    """A model in training, on its device."""

    def __init__(
        self, section: config.Encoder | config.AwesomeAlign, tune: config.FineTune
    ) -> None:
        import torch

        checkpoints.library()
        self.device = devices.choose_device(section.device)
        self._reader = Reader(section.model, section.revision)
        settings = checkpoints.load_config(section.model, section.revision)
        count = layers(settings, section.model, section.layer)
        masking = MASKING.intersection(tune.objectives)
        if masking and settings.is_encoder_decoder:
            raise JobError(
                f"{section.model}: has no masked-language head; leave {' and '.join(sorted(masking))} "
                "out of align.fine_tune.objectives"
            )
        self._model: Any = checkpoints.load_model(
            "AutoModelForMaskedLM" if masking else "AutoModel",
            section.model,
            revision=section.revision,
            dtype=torch.float32,
            device=self.device,
        )
        encoder = (
            self._model.get_encoder() if settings.is_encoder_decoder else self._model.base_model
        )
        self._layer = Layer(encoder, section.layer, count)
        self._above = Layer(encoder, min(section.layer + 1, count), count)
        self._longest = min(LONGEST, self._reader.limit(self._model) // 2 - 1)
        self._objectives = tune.objectives
        self._method = "entmax" if section.method == "entmax" else "softmax"
        self._threshold = section.threshold
        width = self._model.get_input_embeddings().embedding_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(tune.seed)
            self._is_translation = torch.nn.Sequential(
                torch.nn.Linear(width, width), torch.nn.Tanh(), torch.nn.Linear(width, 2)
            ).to(self.device)
        self._chance = torch.Generator().manual_seed(tune.seed)

    @property
    def modules(self) -> list[Module]:
        """What is trained; of these, the model alone is kept."""
        return [self._model, self._is_translation]

    def read(self, pairs: pa.Table) -> _Batch:
        """Both sides of the pairs that are short enough, and have a sub-word on either side."""
        sides = [
            self._side(pairs[words], pairs[language])
            for words, language in zip(WORDS, ("source_lang", "target_lang"), strict=True)
        ]
        real = [[sum(word >= 0 for word in row) for row in side.words] for side in sides]
        fits = [
            row
            for row, lengths in enumerate(zip(*real, strict=True))
            if min(lengths) > 0 and max(lengths) <= self._longest
        ]
        return sides[0].take(fits), sides[1].take(fits)

    def losses(self, batch: _Batch) -> Iterator[dict[str, Tensor]]:
        """The losses of the objectives on a batch of pairs, those of one pass together."""
        if {"so", "co"}.intersection(self._objectives):
            yield self._alignment(batch)
        if "psi" in self._objectives:
            yield {"psi": self._translation(batch)}
        if "mlm" in self._objectives:
            for side in batch:
                yield {
                    "mlm": self._guess(side, [[word >= 0 for word in row] for row in side.words])
                }
        if "tlm" in self._objectives:
            first, second = self._turned(batch)
            both = _joined(first, second)
            begins = [len(row) for row in first.ids]
            for of_second in (False, True):
                maskable = [
                    [word >= 0 and (place >= begin) == of_second for place, word in enumerate(row)]
                    for row, begin in zip(both.words, begins, strict=True)
                ]
                yield {"tlm": self._guess(both, maskable)}

    def save(self, folder: Path) -> None:
        self._model.save_pretrained(folder)
        self._reader.tokenizer.save_pretrained(folder)

    def _side(self, words: pa.ChunkedArray, languages: pa.ChunkedArray) -> _Side:
        array = words.combine_chunks()
        counts = pc.list_value_length(array).to_numpy(zero_copy_only=False).astype(np.int64)
        # A piece more than is read, by which too long ones are known.
        pieces = self._reader.encode(pc.list_flatten(array), LONGEST + 1)
        sentences = Sentences(pieces, counts, languages.to_pylist())
        bounds = sentences.first_piece.tolist()
        ids, owners = pieces.ids.tolist(), sentences.words.tolist()
        side = _Side([], [])
        for language, start, end in zip(sentences.languages, bounds, bounds[1:], strict=False):
            frame = self._reader.frame(language)
            before, after = [-1] * len(frame.prefix), [-1] * len(frame.suffix)
            side.ids.append([*frame.prefix, *ids[start:end], *frame.suffix])
            side.words.append([*before, *owners[start:end], *after])
        return side

    def _alignment(self, batch: _Batch) -> dict[str, Tensor]:
        import torch

        grids = [self._grids(side) for side in batch]
        words = [each for _, _, each in grids]
        masks = words[0] >= 0, words[1] >= 0

        def states() -> list[Tensor]:
            return [self._layer.states(ids, mask).float() for ids, mask, _ in grids]

        self._model.eval()
        with torch.no_grad():
            source, target = states()
            found = extraction.extract(self._method, source, target, *masks, self._threshold)
            linked = objectives.guide(found > 0, *words)
        self._model.train()
        source, target = states()
        arguments = self._method, source @ target.mT, *masks
        losses = {}
        if "so" in self._objectives:
            losses["so"] = objectives.self_training(*arguments, linked)
        if "co" in self._objectives:
            losses["co"] = objectives.consistency(*arguments)
        return losses

    def _translation(self, batch: _Batch) -> Tensor:
        """Whether the second sentence translates the first, or belongs to the next pair."""
        import torch

        first, second = self._turned(batch)
        count = len(first.ids)
        others = second.take([*range(1, count), 0])
        sides = _joined(first, second), _joined(first, others)
        both = _Side(sides[0].ids + sides[1].ids, sides[0].words + sides[1].words)
        self._model.train()
        ids, mask, _ = self._grids(both)
        logits = self._is_translation(self._above.states(ids, mask)[:, 0].float())
        labels = torch.tensor([1] * count + [0] * count, device=logits.device)
        return torch.nn.functional.cross_entropy(logits, labels)

    def _guess(self, rows: _Side, maskable: list[list[bool]]) -> Tensor:
        import torch

        ids, mask, _ = self._grids(rows)
        may = torch.from_numpy(_padded(maskable, False)).to(self.device)
        hidden = self._reader.tokenizer.mask_token_id
        read, labels = objectives.masked(
            ids, may, hidden, len(self._reader.tokenizer), self._chance
        )
        self._model.train()
        return objectives.guesses(self._model(input_ids=read, attention_mask=mask).logits, labels)

    def _turned(self, batch: _Batch) -> _Batch:
        """The sides in either order."""
        import torch

        return batch if torch.rand((), generator=self._chance) < 0.5 else (batch[1], batch[0])

    def _grids(self, side: _Side) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, where they are, and the words that they are of."""
        ids = _padded(side.ids, self._reader.frame("").pad)
        lengths = np.array([*map(len, side.ids)])
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        arrays = ids, mask, _padded(side.words, -1)
        first, second, third = (devices.send(array, self.device) for array in arrays)
        return first, second, third


def _joined(first: _Side, second: _Side) -> _Side:
    """Each sentence with its counterpart after it."""
    return _Side(
        [[*one, *other] for one, other in zip(first.ids, second.ids, strict=True)],
        [[*one, *other] for one, other in zip(first.words, second.words, strict=True)],
    )


def _padded(rows: Sequence[Sequence[int]], filler: int) -> np.ndarray:
    grid = np.full((len(rows), max(map(len, rows))), filler)
    for line, row in zip(grid, rows, strict=True):
        line[: len(row)] = row
    return grid


def _batches(corpus: _Batch, tune: config.FineTune) -> Iterator[_Batch]:
    """`tune.steps` batches: all pairs at random, and again; none where there are no two."""
    count = len(corpus[0].ids)
    if count < 2:
        return
    chance = np.random.default_rng(tune.seed)
    size = min(tune.pairs, count)
    order: list[int] = []
    for _ in range(tune.steps):
        if len(order) < size:
            order += chance.permutation(count).tolist()
        rows, order = order[:size], order[size:]
        yield corpus[0].take(rows), corpus[1].take(rows)


def _tenths(values: list[float]) -> list[float]:
    parts = np.array_split(np.array(values), min(_TENTHS, len(values))) if values else []
    return [round(float(part.mean()), 6) for part in parts]
