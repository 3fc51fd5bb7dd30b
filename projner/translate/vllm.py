"""Translation by language models that are asked to, with vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from projner import checkpoints, devices, serving
from projner.batching import Padding
from projner.config import LanguageModel, Translate
from projner.errors import JobError
from projner.languages import Language
from projner.translate import answers, checks, prompts
from projner.translate.codec import Codec, load_tokenizer
from projner.translate.engine import CodeEngine, Engine, Finish, Translation
from projner.translate.markers import Kind

SLACK = 32
"""Sub-words by which a prompt may be longer than one about a language with a short name."""
_PLACE = "\ue000"
"""Stands for the text while a prompt is framed; a character that no text has."""


def resolve(config: LanguageModel) -> LanguageModel:
    """`config` with this machine's precision in place of `auto`.

    Raises JobError for a device that is not here.
    """
    if config.dtype != "auto":
        return config
    checkpoints.library()
    chosen = devices.choose_dtype("auto", devices.choose_device(config.device))
    return config.model_copy(update={"dtype": str(chosen).removeprefix("torch.")})


def load(config: LanguageModel, cpus: float | None = None) -> Engine:
    """The engine for a model, which is what `resolve` returns, loaded.

    `cpus`: how many CPUs it may keep busy; all by default.

    Raises JobError if it cannot be loaded.
    """
    serving.library(cpus)
    loaded = checkpoints.load_config(config.model, config.revision)
    if getattr(loaded, "is_encoder_decoder", False):
        serving.refuse_unserved(config.model, loaded, "use engine ctranslate2 or transformers")
        return Coded(config, loaded, cpus)
    return Asker(config, loaded, cpus)


class Coded(CodeEngine):
    """A model with language codes, where vLLM serves its architecture: none of up to 0.33 does.

    It is given the prompts of vLLM's encoder-decoders, and searches greedily.
    """

    def __init__(self, config: LanguageModel, loaded: Any, cpus: float | None = None) -> None:
        """As `Asker`."""
        shared = {"model", "revision", "max_length_ratio", "min_length_ratio", "dtype"}
        settings = config.model_dump(include=shared)
        # It makes micro-batches itself, of whatever it is given at once.
        section = Translate(engine="transformers", batch_tokens=1 << 40, **settings)
        codec = Codec(config.model, config.revision)
        super().__init__(section, codec, getattr(loaded, "max_position_embeddings", codec.longest))
        self.check_vocabulary(loaded.vocab_size)
        self._start = loaded.decoder_start_token_id
        self._llm = serving.start(config, "generate", self.limit + 2, cpus)

    def _begin(self, texts: list[list[int]], languages: list[int], cap: int) -> Finish[list[int]]:
        prompts = [
            {
                "encoder_prompt": {"prompt_token_ids": text},
                "decoder_prompt": {"prompt_token_ids": [self._start, language]},
            }
            for text, language in zip(texts, languages, strict=True)
        ]
        greedy = serving.library().SamplingParams(temperature=0, max_tokens=cap + 1)

        def finish() -> list[list[int]]:
            with serving.alive():
                made = self._llm.generate(prompts, greedy, use_tqdm=False)
            return [_with_end(output.outputs[0], self.codec.end) for output in made]

        return finish

    def _begin_scores(
        self, texts: list[list[int]], translations: list[list[int]]
    ) -> Finish[list[float]]:
        raise NotImplementedError


def _with_end(answer: Any, end: int) -> list[int]:
    """The sub-words of an answer, with the end where it stopped by itself."""
    ids = list(answer.token_ids)
    return [*ids, end] if answer.finish_reason == "stop" and ids[-1:] != [end] else ids


class Request(NamedTuple):
    """A text that waits to be translated."""

    text: str
    source: Language
    target: Language
    prompt: list[int]
    """Its sub-words."""
    length: int
    """Sub-words of the text."""
    cap: int
    """Sub-words that the answer may have."""


class Asker:
    """A language model with its prompt.

    What has begun waits until a result is asked for; then everything is computed at once.
    """

    markers: Kind | None = None

    def __init__(self, config: LanguageModel, loaded: Any, cpus: float | None = None) -> None:
        """Load the model.

        Args:
            config: what `resolve` returns.
            loaded: the checkpoint's configuration.
            cpus: how many CPUs this process may use.

        Raises:
            JobError: it cannot be loaded.
        """
        self.config = config
        self._tokenizer: Any = load_tokenizer(config.model, config.revision)
        has_chat = bool(getattr(self._tokenizer, "chat_template", None))
        if config.chat and not has_chat:
            raise JobError(f"{config.model}: its tokenizer has no chat template; use chat: false")
        self._chat = has_chat if config.chat is None else config.chat
        special = [t for t in self._tokenizer.added_tokens_decoder.values() if t.special]
        self._clean = prompts.without_specials([token.content for token in special])
        self._frames: dict[tuple[str, str, str], tuple[str, str]] = {}
        text_config = getattr(loaded, "text_config", None) or loaded
        positions = int(getattr(text_config, "max_position_embeddings", config.max_tokens))
        self._longest = min(config.max_tokens, positions)
        self.limit = self._limit()
        self.padding = Padding()
        self._waiting: dict[int, Request] = {}
        self._answered: dict[int, Any] = {}
        self._begun = 0

        def attempt(llm: Any) -> object:
            prompt = {"prompt_token_ids": self._encode(["."], special=True)[0]}
            return llm.generate([prompt], [self._sampling(1)], use_tqdm=False)

        self._llm = serving.start(
            config, "generate", self._longest, cpus, attempt, seed=config.seed
        )

    def knows(self, language: Language) -> bool:
        """Whether the prompt can name a language; whether the model knows it, only its answers tell."""
        try:
            self._frame(language, language, "")
        # Chat templates that have a list of languages raise exceptions of their own.
        except Exception:
            return False
        return True

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        ids = self.subwords([self._clean(text) for text in texts])
        return np.fromiter(map(len, ids), np.int64, len(ids))

    def subwords(self, texts: Sequence[str]) -> list[list[int]]:
        return self._encode([" ".join(text.split()) for text in texts], special=False)

    def begin(
        self, texts: Sequence[str], sources: Sequence[Language], targets: Sequence[Language]
    ) -> Finish[Translation]:
        lines = [self._clean(" ".join(text.split())) for text in texts]
        framed = [
            "".join([frame[0], line, frame[1]])
            for line, frame in zip(lines, map(self._framed, lines, sources, targets), strict=True)
        ]
        # What a chat template frames begins with its own special tokens.
        asked = self._encode(framed, special=not self._chat)
        first = self._begun
        for row, length in enumerate(self.lengths(lines).tolist()):
            room = max(1, self._longest - len(asked[row]))
            cap = checks.cap(length, self.config.max_length_ratio, room)
            request = Request(lines[row], sources[row], targets[row], asked[row], length, cap)
            self._waiting[first + row] = request
        self._begun += len(lines)
        numbers = range(first, self._begun)
        return lambda: self._finish(numbers)

    def score(self, *_: Any) -> np.ndarray:
        raise NotImplementedError

    def token_scores(self, *_: Any) -> list[np.ndarray]:
        raise NotImplementedError

    def _finish(self, numbers: Sequence[int]) -> list[Translation]:
        if any(number in self._waiting for number in numbers):
            # Whatever becomes of them, they are not asked for again.
            waiting, self._waiting, self._answered = self._waiting, {}, {}
            made = self._translations([*waiting.values()])
            self._answered = dict(zip(waiting, made, strict=True))
        return [self._answered.pop(number) for number in numbers]

    def _translations(self, requests: Sequence[Request]) -> list[Translation]:
        with serving.alive():
            made = self._llm.generate(
                [{"prompt_token_ids": request.prompt} for request in requests],
                [self._sampling(request.cap) for request in requests],
                use_tqdm=False,
            )
        given = [output.outputs[0] for output in made]
        read = [len(request.prompt) for request in requests]
        written = [len(answer.token_ids) for answer in given]
        self.padding.add_bare(np.array([*read, *written]))
        texts = [
            answers.clean(answer.text, request.text, request.target)
            if self.config.clean
            else answer.text.strip()
            for request, answer in zip(requests, given, strict=True)
        ]
        ids = self.subwords([*(request.text for request in requests), *texts])
        before, after = ids[: len(requests)], ids[len(requests) :]
        flaws = [
            answers.refusal(answer.text, request.text, request.target)
            or checks.flaw(
                before[n],
                after[n],
                ended=answer.finish_reason == "stop",
                cap=max(request.cap, len(answer.token_ids)),
                min_ratio=self.config.min_length_ratio,
            )
            for n, (request, answer) in enumerate(zip(requests, given, strict=True))
        ]
        return [*map(Translation, texts, flaws)]

    def _sampling(self, cap: int) -> Any:
        config = self.config
        return serving.library().SamplingParams(
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            seed=config.seed,
            repetition_penalty=config.repetition_penalty,
            # The end counts.
            max_tokens=cap + 1,
            stop=[*config.stop, *([] if self._chat else ["\n"])],
        )

    def _framed(self, line: str, source: Language, target: Language) -> tuple[str, str]:
        kind = self.markers
        keep = prompts.keep(kind) if kind and prompts.has_markers(line, kind) else ""
        return self._frame(source, target, keep)

    def _frame(self, source: Language, target: Language, keep: str) -> tuple[str, str]:
        """What stands before and after a text in the prompt."""
        key = (source.code, target.code, keep)
        if key not in self._frames:
            asked = prompts.Asked(source, target, keep)
            if self._chat:
                whole = self._tokenizer.apply_chat_template(
                    prompts.messages(self.config, asked, _PLACE),
                    tokenize=False,
                    add_generation_prompt=True,
                    # Of Qwen and its kin, which may think; others ignore it.
                    enable_thinking=False,
                )
            else:
                whole = prompts.plain(self.config, asked, _PLACE)
                whole += "" if whole.rstrip().endswith(":") else "\n"
            before, found, after = str(whole).partition(_PLACE)
            if not found:
                raise JobError(f"{self.config.model}: its chat template leaves the text out")
            self._frames[key] = before, after
        return self._frames[key]

    def _limit(self) -> int:
        """Sub-words of the longest text whose prompt and longest translation fit."""
        from projner import languages

        english = languages.find("eng_Latn")
        around = len(self._encode(["".join(self._frame(english, english, ""))], special=True)[0])
        room = self._longest - around - SLACK - checks.ROOM
        limit = int(room / (1 + self.config.max_length_ratio))
        if limit < 1:
            raise JobError(
                f"{self.config.model}: {self._longest} sub-words hold no text with its prompt and its "
                "translation; raise translate.max_tokens, or take a model that reads more"
            )
        return limit

    def _encode(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=special, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids
