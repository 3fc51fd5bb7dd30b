"""Translation with `transformers`: the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projner import checkpoints, devices
from projner.config import Translate
from projner.translate.codec import Codec
from projner.translate.engine import CodeEngine, Finish

if TYPE_CHECKING:
    import torch


def resolve(config: Translate) -> Translate:
    """`config` with this machine's device and precision in place of `auto`.

    Raises JobError for a device that is not here.
    """
    checkpoints.library()
    device = devices.choose_device(config.device)
    dtype = devices.choose_dtype(config.dtype, device)  # type: ignore[arg-type]
    return config.model_copy(update={"device": device, "dtype": str(dtype).split(".")[-1]})


class Transformers(CodeEngine):
    """Any `AutoModelForSeq2SeqLM` with language codes.

    Its beam search is told to stop, and to weigh lengths, as CTranslate2's does.
    """

    def __init__(self, config: Translate, cpus: float | None = None) -> None:
        """Load the model.

        Args:
            config: what `resolve` returns.
            cpus: how many CPUs this process may use; as many as torch thinks best by default.

        Raises:
            JobError: it cannot be loaded.
        """
        library = checkpoints.library()
        if cpus is not None:
            devices.use_threads(cpus)
        loaded = checkpoints.load_config(config.model, config.revision)
        codec = Codec(config.model, config.revision)
        super().__init__(config, codec, getattr(loaded, "max_position_embeddings", codec.longest))
        self._model: Any = checkpoints.load_model(
            "AutoModelForSeq2SeqLM",
            config.model,
            revision=config.revision,
            dtype=devices.choose_dtype(config.dtype, config.device),  # type: ignore[arg-type]
            device=config.device,
        )
        self.check_vocabulary(self._model.get_input_embeddings().num_embeddings)
        self._start = self._model.generation_config.decoder_start_token_id
        if self._start is None:
            self._start = loaded.decoder_start_token_id
        beams = {"early_stopping": True, "length_penalty": 1.0} if config.beam_size > 1 else {}
        # Not the checkpoint's, whose settings would stand where nothing else is said.
        self._model.generation_config = library.GenerationConfig(
            decoder_start_token_id=self._start,
            eos_token_id=codec.end,
            pad_token_id=codec.pad,
            do_sample=False,
            num_beams=config.beam_size,
            repetition_penalty=config.repetition_penalty,
            no_repeat_ngram_size=config.no_repeat_ngram_size,
            **beams,
        )

    def _begin(self, texts: list[list[int]], languages: list[int], cap: int) -> Finish[list[int]]:
        return lambda: self._generate(texts, languages, cap)

    def _begin_scores(
        self, texts: list[list[int]], translations: list[list[int]]
    ) -> Finish[list[float]]:
        return lambda: self._score(texts, translations)

    def _generate(self, texts: list[list[int]], languages: list[int], cap: int) -> list[list[int]]:
        import torch

        grid = self._pad(texts)
        codes = torch.tensor(languages, device=grid.device)

        def begin_with_language(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if ids.shape[1] > 1:
                return scores
            forced = torch.full_like(scores, -torch.inf)
            return forced.scatter(1, codes.repeat_interleave(len(ids) // len(codes))[:, None], 0)

        with torch.inference_mode():
            made = self._model.generate(
                input_ids=grid,
                attention_mask=(grid != self.codec.pad).long(),
                # The language and the end count.
                max_new_tokens=cap + 2,
                logits_processor=[begin_with_language],
            )
        # Before them are the start and the language.
        return [_until(row, self.codec.end) for row in made[:, 2:].tolist()]

    def _score(self, texts: list[list[int]], translations: list[list[int]]) -> list[list[float]]:
        import torch

        grid = self._pad(texts)
        given = self._pad([[self._start, *translation] for translation in translations])
        wanted = self._pad([[*translation[1:], self.codec.end] for translation in translations])
        with torch.inference_mode():
            logits = self._model(
                input_ids=grid,
                attention_mask=(grid != self.codec.pad).long(),
                decoder_input_ids=given,
            ).logits[:, 1:]
            losses = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(),
                wanted.flatten(),
                ignore_index=self.codec.pad,
                reduction="none",
            ).view(wanted.shape)
            scores: list[list[float]] = (-losses).tolist()
        # What begins with the language has as many sub-words as what ends with the end.
        return [
            row[: len(translation)] for row, translation in zip(scores, translations, strict=True)
        ]

    def _pad(self, rows: list[list[int]]) -> torch.Tensor:
        import torch

        width = max(map(len, rows))
        padded = [row + [self.codec.pad] * (width - len(row)) for row in rows]
        return torch.tensor(padded, device=self.config.device)


def _until(row: list[int], end: int) -> list[int]:
    """A row up to its first `end`, and with it."""
    return row[: row.index(end) + 1] if end in row else row
