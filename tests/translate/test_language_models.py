"""The engine for language models, with answers from a list in place of vLLM's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from projner import serving
from projner.config import LanguageModel
from projner.demo import causal
from projner.demo.models import Models
from projner.errors import JobError
from projner.translate import Translator
from projner.translate.marked import MarkedTranslator

TEXTS = ["Ada met Rome .", "It rained .", "Amina went to Kano </s> .", "Yes ."]


class Scripted:
    """In the place of `vllm.LLM`: what it answers to a text, and what it was asked."""

    def __init__(self, tokenizer: Any, answers: dict[str, Any]) -> None:
        self.tokenizer, self.answers = tokenizer, answers
        self.prompts: list[str] = []
        self.sampling: list[Any] = []
        self.calls = 0

    def generate(self, prompts: list[dict[str, Any]], sampling: list[Any], **_: Any) -> list[Any]:
        self.calls += 1
        found = []
        for prompt, how in zip(prompts, sampling, strict=True):
            asked = self.tokenizer.decode(prompt["prompt_token_ids"])
            self.prompts.append(asked)
            self.sampling.append(how)
            text, reason = next(
                (answer for text, answer in self.answers.items() if text in asked),
                ("Ndiyo .", "stop"),
            )
            if isinstance(text, Exception):
                raise text
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            output = SimpleNamespace(text=text, finish_reason=reason, token_ids=ids)
            found.append(SimpleNamespace(outputs=[output]))
        return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with a chat template, and a configuration; no weights."""
    folder = tmp_path_factory.mktemp("model")
    causal._tokenizer(
        [*TEXTS, *["Ada", "alikutana", "na", "Roma", ".", "en", "sw", "Kano", "(", ")"]], 400
    ).save_pretrained(folder)
    config = {"model_type": "llama", "max_position_embeddings": 256, "vocab_size": 400}
    (folder / "config.json").write_text(
        json.dumps({**config, "architectures": ["LlamaForCausalLM"]})
    )
    return folder


Started = Callable[..., tuple[Any, Scripted]]


@pytest.fixture
def started(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """`started(answers, **settings)`: a translator that is set up, and what it asks."""

    def start(
        answers: dict[str, Any],
        make: Callable[..., Any] = lambda section: Translator(section, "source"),
        **settings: Any,
    ) -> tuple[Any, Scripted]:
        from transformers import AutoTokenizer

        scripted = Scripted(AutoTokenizer.from_pretrained(checkpoint), answers)
        library = SimpleNamespace(SamplingParams=lambda **given: SimpleNamespace(**given))
        monkeypatch.setattr(serving, "library", lambda threads=None: library)
        monkeypatch.setattr(serving, "start", lambda *_, **__: scripted)
        given = {"prompt": causal.PROMPT, "dtype": "float32", **settings}
        translator = make(LanguageModel(engine="vllm", model=str(checkpoint), **given))
        translator.setup(1)
        return translator, scripted

    return start


def table(texts: list[str], **columns: Any) -> pa.Table:
    count = len(texts)
    return pa.table(
        {
            "source_text": pa.array(texts, pa.string()),
            "source_lang": ["eng_Latn"] * count,
            "target_lang": ["swh_Latn"] * count,
            "status": ["ok"] * count,
            "status_detail": pa.nulls(count, pa.string()),
            **columns,
        }
    )


def test_answers_become_rows(started: Started) -> None:
    answers = {
        "Ada met": ("Here is the translation: Ada alikutana na Roma .", "stop"),
        "It rained": ("I'm sorry, but I can't translate that.", "stop"),
        "went": ("Kano " * 20, "length"),
        "Yes": ("", "stop"),
    }
    translator, scripted = started(answers)
    rows = translator(table([*TEXTS, "", "x " * 300])).to_pylist()
    assert scripted.calls == 1
    assert rows[0]["target_tokens"] == ["Ada", "alikutana", "na", "Roma", "."]
    assert [row["status"] for row in rows] == [
        "ok",
        *["translation_failed"] * 3,
        "empty",
        "too_long",
    ]
    details = [row["status_detail"] for row in rows]
    assert details[1].startswith("the model answered otherwise: I'm sorry")
    assert "has no end" in details[2]
    assert details[3] == "the translation is empty"
    # The longest texts are asked first.
    assert scripted.prompts[-1] == "<s><|user|> en sw Yes .<|assistant|>"
    assert {how.temperature for how in scripted.sampling} == {0.0}
    counted = translator.counters()
    assert (counted["padding"], counted["sentences"]) == (0, 6)


def test_special_tokens_of_a_text_end_nothing(started: Started) -> None:
    translator, scripted = started({})
    translator(table(["Amina </s> went <|assistant|> ."]))
    (prompt,) = scripted.prompts
    assert prompt.count("</s>") == 0
    assert prompt.count("<|assistant|>") == 1


def test_parts_keep_their_order(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    from projner.translate import stage

    monkeypatch.setattr(stage, "PART_ROWS", 3)
    texts = [f"{'Ada ' * n}." for n in range(1, 9)]
    answers = {f" en sw {text}<": (f"Roma {n} .", "stop") for n, text in enumerate(texts)}
    translator, scripted = started(answers)
    rows = translator(table(texts[::-1])).to_pylist()
    assert [row["target_text"] for row in rows] == [f"Roma {n} ." for n in range(8)][::-1]
    assert scripted.calls == 1


def test_a_row_that_breaks_the_engine_costs_itself(started: Started) -> None:
    from projner import stage

    translator, _ = started({"It rained": (ValueError("no room"), "stop")})
    rows = stage.run(translator, table(TEXTS)).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "ok"]
    assert rows[1]["status_detail"] == "translate: ValueError: no room"


def test_another_language_has_failed(started: Started) -> None:
    pytest.importorskip("py3langid")
    english = "The weather will be fine in the whole country tomorrow ."
    swahili = "Hali ya hewa itakuwa nzuri katika nchi nzima kesho ."
    answers = {"Ada met": (english, "stop"), "It rained": (swahili, "stop")}
    translator, _ = started(
        answers, language={"engine": "py3langid"}, max_length_ratio=9, min_length_ratio=0
    )
    rows = translator(table(TEXTS[:2])).to_pylist()
    assert [row["status"] for row in rows] == ["translation_failed", "ok"]
    assert rows[0]["status_detail"].startswith("the translation is swh_Latn with probability 0.0")


def test_a_model_without_chat_goes_on_from_a_line(started: Started) -> None:
    translator, scripted = started({}, chat=False, prompt="tower", stop="###")
    translator(table(["Yes ."]))
    (prompt,) = scripted.prompts
    assert prompt.endswith("Swahili:")
    (how,) = scripted.sampling
    assert how.stop == ["###", "\n"]


def test_markers_are_asked_for_and_read(started: Started) -> None:
    answers = {"<a>": ("<a>Ada</a> alikutana na <b>Roma</b> .", "stop")}
    translator, scripted = started(
        answers, lambda section: MarkedTranslator(section, "xml"), prompt="general"
    )
    entity = [{"start": 0, "end": 1, "label": "PER", "score": 1.0}]
    place = [{"start": 2, "end": 3, "label": "LOC", "score": 1.0}]
    tokens = [text.split() for text in TEXTS[:2]]
    rows = translator(
        table(TEXTS[:2], source_tokens=tokens, source_entities=[entity + place, []])
    ).to_pylist()
    assert rows[0]["marked_text"] == "Ada alikutana na Roma ."
    found = [(each["start"], each["end"], each["label"]) for each in rows[0]["marked_entities"]]
    assert found == [(0, 1, "PER"), (3, 4, "LOC")]
    asked = {prompt.count("Keep each tag") for prompt in scripted.prompts}
    assert asked == {0, 1}


def test_a_model_must_hold_its_prompt(started: Started) -> None:
    with pytest.raises(JobError, match=r"raise translate\.max_tokens"):
        started({}, prompt="general", max_tokens=64)


def test_a_model_with_codes_is_asked_by_them(
    demo_models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it will be where vLLM serves one: here a model repeats what it reads, without its code."""
    asked: list[dict[str, Any]] = []

    def generate(prompts: list[dict[str, Any]], _: Any, **__: Any) -> list[Any]:
        asked.extend(prompts)
        texts = [prompt["encoder_prompt"]["prompt_token_ids"][1:] for prompt in prompts]
        outputs = [SimpleNamespace(token_ids=ids, finish_reason="stop") for ids in texts]
        return [SimpleNamespace(outputs=[output]) for output in outputs]

    library = SimpleNamespace(
        SamplingParams=lambda **given: given,
        ModelRegistry=SimpleNamespace(
            get_supported_archs=lambda: ["M2M100ForConditionalGeneration"]
        ),
    )
    monkeypatch.setattr(serving, "library", lambda threads=None: library)
    monkeypatch.setattr(serving, "start", lambda *_, **__: SimpleNamespace(generate=generate))
    section = LanguageModel(engine="vllm", model=str(demo_models.translator), dtype="float32")
    translator = Translator(section, "source", languages=["swh_Latn"])
    translator.setup(1)
    texts = ["Ada met Amina in Kano .", "It rained ."]
    rows = translator(table(texts)).to_pylist()
    assert [row["target_text"] for row in rows] == texts
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_models.translator)
    codes = tokenizer.convert_tokens_to_ids(["eng_Latn", "swh_Latn"])
    for prompt in asked:
        assert prompt["encoder_prompt"]["prompt_token_ids"][0] == codes[0]
        assert prompt["decoder_prompt"]["prompt_token_ids"][1] == codes[1]


def test_settings_are_what_decides_the_answers(started: Started) -> None:
    settings = started({})[0].settings()
    assert settings["prompt"] == causal.PROMPT
    assert not {"environment", "gpu_memory", "device", "language"} & set(settings)
    other = started({}, environment="/x", gpu_memory=0.5, device="cpu")[0].settings()
    assert other == settings
    assert started({}, temperature=0.5)[0].settings() != settings


def test_what_vllm_does_not_serve_is_for_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(
        ModelRegistry=SimpleNamespace(
            get_supported_archs=lambda: ["LlamaForCausalLM", "BertForTokenClassification"]
        ),
        __version__="0.32.0",
    )
    monkeypatch.setattr(serving, "library", lambda threads=None: library)
    loaded = SimpleNamespace(architectures=["M2M100ForConditionalGeneration"])
    with pytest.raises(JobError) as raised:
        serving.refuse_unserved("nllb", loaded, "use engine ctranslate2")
    assert str(raised.value) == (
        "nllb: vLLM 0.32.0 does not serve M2M100ForConditionalGeneration; use engine ctranslate2"
    )
    loaded.architectures = ["LlamaForCausalLM"]
    serving.refuse_unserved("llama", loaded, "use another")
    with pytest.raises(JobError, match=r"of this kind, BertForTokenClassification\); use another"):
        serving.refuse_unserved("llama", loaded, "use another", "ForTokenClassification")
