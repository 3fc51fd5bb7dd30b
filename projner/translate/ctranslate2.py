"""Translation with CTranslate2."""

from __future__ import annotations

import json
import os
from pathlib import Path

from projner import checkpoints
from projner.config import Translate
from projner.errors import JobError
from projner.translate import conversion
from projner.translate.codec import Codec
from projner.translate.engine import CodeEngine, Finish

POSITIONS = 1024
"""What NLLB-200 and M2M-100 have; a converted model does not tell."""


def resolve(config: Translate) -> Translate:
    """`config` with this machine's device and precision in place of `auto`.

    Raises JobError for what CTranslate2 cannot do here.
    """
    library = conversion.library()
    gpus = library.get_cuda_device_count()
    if config.device == "mps" or (config.device == "cuda" and not gpus):
        raise JobError(
            f"device {config.device}: ctranslate2 finds none on this machine; use auto, or engine "
            "transformers"
        )
    device = ("cuda" if gpus else "cpu") if config.device == "auto" else config.device
    able = library.get_supported_compute_types(device)
    dtype: str = config.dtype
    if dtype == "auto":
        fastest = {"cuda": "float16", "cpu": "int8"}[device]
        dtype = fastest if fastest in able else "float32"
    if dtype not in able:
        raise JobError(
            f"dtype {dtype}: ctranslate2 has {', '.join(sorted(able))} on {device}; use auto"
        )
    return config.model_copy(update={"device": device, "dtype": dtype})


class CTranslate2(CodeEngine):
    """A model in CTranslate2's format, converted if it is not.

    On a CPU, every thread translates micro-batches of its own.
    """

    def __init__(self, config: Translate, cpus: float | None = None) -> None:
        """Load the model.

        Args:
            config: what `resolve` returns.
            cpus: how many CPUs this process may use; all by default.

        Raises:
            JobError: it cannot be loaded.
        """
        library = conversion.library()
        if conversion.is_converted(config.model):
            positions = POSITIONS
        else:
            loaded = checkpoints.load_config(config.model, config.revision)
            positions = getattr(loaded, "max_position_embeddings", POSITIONS)
        codec = Codec(config.model, config.revision)
        folder = conversion.converted(config)
        super().__init__(config, codec, positions)
        threads = max(1, int(cpus or os.cpu_count() or 1)) if config.device == "cpu" else 1
        try:
            self._translator = library.Translator(
                str(folder),
                device=config.device,
                compute_type=config.dtype,
                inter_threads=threads,
                intra_threads=1,
                max_queued_batches=-1,
            )
            self._tokens = _vocabulary(folder)
        except (RuntimeError, ValueError, OSError) as error:
            raise JobError(f"{config.model}: ctranslate2 cannot load it: {error}") from error
        self.check_vocabulary(len(self._tokens))
        self._ids = {token: number for number, token in enumerate(self._tokens)}

    def _begin(self, texts: list[list[int]], languages: list[int], cap: int) -> Finish[list[int]]:
        begun = self._translator.translate_batch(
            [self._spell(text) for text in texts],
            target_prefix=[self._spell([language]) for language in languages],
            asynchronous=True,
            beam_size=self.config.beam_size,
            repetition_penalty=self.config.repetition_penalty,
            no_repeat_ngram_size=self.config.no_repeat_ngram_size,
            return_end_token=True,
            max_input_length=0,
            # The language and the end count.
            max_decoding_length=cap + 2,
        )
        return lambda: [
            [self._ids[token] for token in item.result().hypotheses[0][1:]] for item in begun
        ]

    def _begin_scores(
        self, texts: list[list[int]], translations: list[list[int]]
    ) -> Finish[list[float]]:
        begun = self._translator.score_batch(
            [self._spell(text) for text in texts],
            [self._spell(translation) for translation in translations],
            asynchronous=True,
            max_input_length=0,
            offset=1,
        )
        return lambda: [item.result().log_probs for item in begun]

    def _spell(self, ids: list[int]) -> list[str]:
        return [self._tokens[number] for number in ids]


def _vocabulary(folder: Path) -> list[str]:
    """The model's tokens, in the order of their ids."""
    file = folder / "shared_vocabulary.json"
    if file.is_file():
        tokens: list[str] = json.loads(file.read_text(encoding="utf-8"))
        return tokens
    # Until version 3.
    return (folder / "shared_vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
