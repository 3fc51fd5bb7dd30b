"""The stage that translates one side's text into the other side's language."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from projner import checkpoints, identify, languages, record, sentences, stage
from projner.config import LanguageModel, Translate
from projner.errors import JobError
from projner.languages import Language
from projner.record import Status
from projner.stage import Stage
from projner.translate import ctranslate2, prompts, transformers, vllm
from projner.translate.conversion import converted, is_converted
from projner.translate.engine import Engine, Finish, Translation
from projner.words import words

Config = Translate | LanguageModel
_ENGINES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, float | None], Engine]]] = {
    "ctranslate2": (ctranslate2.resolve, ctranslate2.CTranslate2),
    "transformers": (transformers.resolve, transformers.Transformers),
    "vllm": (vllm.resolve, vllm.load),
}
AnyConfig = TypeVar("AnyConfig", Translate, LanguageModel, Config)
PART_ROWS = 512
_UNSPACED_SCRIPTS = {"Hans", "Hant", "Jpan"}
_OTHER: dict[str, Literal["source", "target"]] = {"source": "target", "target": "source"}


def resolve(config: AnyConfig) -> AnyConfig:
    """`config` with this machine's device and precision in place of `auto`.

    Raises JobError for what the engine cannot do here.
    """
    settled: AnyConfig = _ENGINES[config.engine][0](config)
    return settled


def load(config: Config, cpus: float | None = None) -> Engine:
    """The engine of `config`, with its model.

    `cpus` is how many CPUs this process may use.

    Raises JobError if it cannot be loaded.
    """
    return _ENGINES[config.engine][1](resolve(config), cpus)


class ModelStage(Stage):
    """A stage with a translation model; what it does with it, its subclass says."""

    room: ClassVar[str | None] = "translate"

    def __init__(self, config: Config, *, languages: Iterable[str] = ()) -> None:
        """A stage with the model of `config`.

        `languages`: FLORES-200 codes that the model must know, or `setup` refuses it.
        """
        self.config = config
        self.environment = config.environment
        self._languages = tuple(languages)

    def resolved(self) -> ModelStage:
        settled = copy.copy(self)
        # The device stays as it is: results do not depend on it, and an actor takes what it gets.
        settled.config = self.config.model_copy(update={"dtype": resolve(self.config).dtype})
        return settled

    def settings(self) -> dict[str, Any]:
        """As in `Stage`. Settles `auto` on this machine if nobody has; see `resolved`."""
        resources = {"batch_tokens", "device", "environment", "gpu_memory"}
        config = self.config
        settings = resolve(config).model_dump(mode="json", exclude={*resources, "language"})
        settings["model"] = checkpoints.identity(config.model)
        if isinstance(config, LanguageModel):
            settings["prompt"] = prompts.wording(config)
        if config.language is not None:
            settings["language"] = identify.identity(config.language)
            settings["min_score"] = config.language.min_score
        return {**settings, "inputs": self.inputs, "outputs": self.outputs}

    def fetch(self) -> None:
        config = self.config
        if not is_converted(config.model):
            checkpoints.fetch(config.model, config.revision)
        if isinstance(config, LanguageModel) or config.engine != "ctranslate2":
            return
        # Where this runs, `auto` may mean something else than where the model will.
        if config.dtype != "auto":
            converted(config)

    def setup(self, cpus: float | None = None) -> None:
        self._engine = load(self.config, cpus)
        for code in self._languages:
            if not self._engine.knows(languages.find(code)):
                raise JobError(
                    f"{self.config.model}: does not know {code}; choose a model that does, or "
                    "leave the language out"
                )


class Translator(ModelStage):
    """Text and words of one side, translated from the other side's text.

    Translate-test translates from the target, translate-train from the source. A translation that
    is empty, endless, repetitive or far too short gives its row the status `translation_failed`;
    the row keeps it, so that it can be looked at.
    """

    name: ClassVar[str] = "translate"
    version: ClassVar[int] = 2

    def __init__(
        self,
        config: Config,
        from_side: Literal["source", "target"],
        *,
        languages: Iterable[str] = (),
    ) -> None:
        """A translator from `from_side` to the other.

        Args:
            config: which model, and how it decodes.
            from_side: the side that is translated.
            languages: FLORES-200 codes that the model must know, or `setup` refuses it.
        """
        super().__init__(config, languages=languages)
        self.from_side = from_side
        to_side = _OTHER[from_side]
        self.inputs = (f"{from_side}_text", f"{from_side}_lang", f"{to_side}_lang")
        self.outputs = (f"{to_side}_text", f"{to_side}_tokens")

    def setup(self, cpus: float | None = None) -> None:
        super().setup(cpus)
        if self.config.language is not None:
            for code in self._languages:
                identify.check(self.config.language, languages.find(code), "translate.language")
        self._sentences = 0
        self._seconds = 0.0

    def counters(self) -> Mapping[str, float]:
        return {
            "sentences": self._sentences,
            "tokens": self._engine.padding.tokens,
            "padding": self._engine.padding.padding,
            "seconds": self._seconds,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        started = time.perf_counter()
        texts, given, wanted = (table[name].to_pylist() for name in self.inputs[:3])
        sources, targets = ([languages.find(code) for code in column] for column in (given, wanted))
        table, rows = self._rows(table, [text or "" for text in texts], sources, targets)
        rows = [*map(self._in_language, rows, targets)]
        text_column, tokens_column, *_ = self.outputs
        table = record.with_column(table, text_column, [row.text for row in rows])
        table = record.with_column(table, tokens_column, [row.tokens for row in rows])
        self._sentences += table.num_rows
        self._seconds += time.perf_counter() - started
        return with_refusals(table, rows)

    def _rows(
        self,
        table: pa.Table,
        texts: list[str],
        sources: list[Language],
        targets: list[Language],
    ) -> tuple[pa.Table, list[Row]]:
        """What becomes of each row, and the table with what else there is to say of it."""
        return table, self._translate(texts, sources, targets)

    def _translate(
        self, texts: list[str], sources: list[Language], targets: list[Language]
    ) -> list[Row]:
        """Rows in the order of the texts, which are worked on in parts of like lengths.

        What precedes and follows the computation of one part is done while another is computed.
        """
        order = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
        parts = [order[start : start + PART_ROWS] for start in range(0, len(order), PART_ROWS)]
        begun = [
            self._begin(
                [texts[n] for n in part], [sources[n] for n in part], [targets[n] for n in part]
            )
            for part in parts
        ]
        rows: dict[int, Row] = {}
        for part, finish in zip(parts, begun, strict=True):
            rows.update(zip(part, finish(), strict=True))
        return [rows[n] for n in range(len(texts))]

    def _begin(
        self, texts: list[str], sources: list[Language], targets: list[Language]
    ) -> Finish[Row]:
        parts, longest = self._split(texts, sources)
        rows = [*map(self._refusal, sources, targets, longest)]
        open_rows = [n for n, row in enumerate(rows) if row.status is Status.OK]
        asked = [(part, sources[n], targets[n]) for n in open_rows for part in parts[n]]
        finish = self._engine.begin(*map(list, zip(*asked, strict=True))) if asked else list

        def joined() -> list[Row]:
            made = iter(finish())
            for n in open_rows:
                rows[n] = _joined([next(made) for _ in parts[n]], targets[n])
            return rows

        return joined

    def _in_language(self, row: Row, target: Language) -> Row:
        """A row that is `ok`, failed where its text is in another language than `target`."""
        chosen = self.config.language
        if chosen is None or row.status is not Status.OK or not row.text:
            return row
        doubt = identify.doubt(chosen, target, row.text)
        if doubt is None:
            return row
        return row._replace(status=Status.TRANSLATION_FAILED, detail=f"the translation {doubt}")

    def _split(
        self, texts: list[str], sources: list[Language]
    ) -> tuple[list[list[str]], list[int]]:
        """Each text in parts that are translated one by one, and its longest part's sub-words."""
        lengths = self._engine.lengths(texts)
        parts, longest = [[text] for text in texts], lengths.tolist()
        if self.config.split_over is not None:
            for n in np.flatnonzero(lengths > self.config.split_over):
                spans = sentences.split(texts[n], sources[n])
                parts[n] = [texts[n][start:end] for start, end in spans]
                longest[n] = int(self._engine.lengths(parts[n]).max(initial=0))
        return parts, longest

    def _refusal(self, source: Language, target: Language, longest: int) -> Row:
        """Why a text cannot be translated, or a row that is `ok`."""
        for language in (source, target):
            if not self._engine.knows(language):
                detail = f"the model does not know {language.code}"
                return Row(None, None, Status.TRANSLATION_FAILED, detail)
        if not longest:
            return Row(None, None, Status.EMPTY, "there is nothing to translate")
        if longest > self._engine.limit:
            detail = f"a sentence of {longest} sub-words; the model reads {self._engine.limit}"
            return Row(None, None, Status.TOO_LONG, detail)
        return Row(None, None, Status.OK, None)


class Row(NamedTuple):
    """What becomes of a row."""

    text: str | None
    tokens: list[str] | None
    status: Status
    detail: str | None


def with_refusals(table: pa.Table, rows: Sequence[Row]) -> pa.Table:
    """`table` with the statuses of rows that are not `ok`."""
    for status in {row.status for row in rows} - {Status.OK}:
        chosen = np.array([row.status is status for row in rows], bool)
        details = [row.detail or "" for row in rows if row.status is status]
        table = stage.with_status(table, chosen, status, details)
    return table


def _joined(parts: list[Translation], language: Language) -> Row:
    """A row of the translations of a text's sentences."""
    space = "" if language.script in _UNSPACED_SCRIPTS else " "
    text = space.join(part.text for part in parts if part.text)
    tokens = words(text, language)
    flaws = [part.flaw for part in parts if part.flaw]
    if not tokens and not flaws:
        flaws = ["the translation has no words"]
    if flaws:
        of = f" (in one of {len(parts)} sentences)" if len(parts) > 1 else ""
        return Row(text, tokens, Status.TRANSLATION_FAILED, flaws[0] + of)
    return Row(text, tokens, Status.OK, None)
