from __future__ import annotations

import json
from pathlib import Path

import pytest

from projner import config, languages
from projner.config import LanguageModel
from projner.errors import JobError
from projner.translate import prompts
from projner.translate.prompts import Asked

PAIR = Asked(languages.find("eng_Latn"), languages.find("swh_Latn"))


def model(name: str = "m", **settings: object) -> LanguageModel:
    return LanguageModel(engine="vllm", model=name, **settings)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("google/translategemma-4b-it", "translategemma"),
        ("Unbabel/TowerInstruct-7B-v0.2", "tower"),
        ("Unbabel/Tower-Plus-9B", "tower"),
        ("tencent/HY-MT1.5-1.8B", "hy-mt"),
        ("tencent/Hunyuan-MT-7B", "hy-mt"),
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen"),
        ("utter-project/EuroLLM-9B-Instruct", "general"),
    ],
)
def test_a_models_name_tells_its_prompt(name: str, kind: str) -> None:
    assert prompts.name_of(model(name)) == kind


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [("qwen3", "qwen"), ("hunyuan_v1_dense", "hy-mt"), ("llama", "general")],
)
def test_else_its_architecture_does(tmp_path: Path, model_type: str, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert prompts.name_of(model(str(tmp_path))) == kind
    assert prompts.name_of(model(str(tmp_path), prompt="tower")) == "tower"


def test_braces_in_a_text_are_its_own() -> None:
    for name in ("tower", "hy-mt", "qwen", "general", "translategemma", "<{source_code}> {text}"):
        prompt = prompts.plain(model(prompt=name), PAIR, "a {text} {x} {")
        assert "a {text} {x} {" in prompt
        assert "{source" not in prompt
    made = prompts.plain(model(prompt="{source_code}>{target_code}{keep}: {text}"), PAIR, "Ada")
    assert made == "en>sw: Ada"


def test_translategemma_is_told_codes_by_its_own_template() -> None:
    ((message),) = prompts.messages(model("translategemma"), PAIR, "Ada")
    (content,) = message["content"]
    assert (content["source_lang_code"], content["target_lang_code"]) == ("en", "sw")
    # Its template has no place for what markers need.
    marked = PAIR._replace(keep=prompts.keep("xml"))
    ((message),) = prompts.messages(model("translategemma"), marked, "<a>Ada</a>")
    assert "<a>Ada</a>" in message["content"]
    assert prompts.keep("xml") in message["content"]


@pytest.mark.parametrize("kind", ["xml", "brackets"])
def test_markers_are_asked_for_where_they_are(kind: prompts.Kind) -> None:
    marked = {"xml": "<a>Ada</a> met .", "brackets": "[ Ada ] met ."}[kind]
    assert prompts.has_markers(marked, kind)
    assert not prompts.has_markers("Ada met .", kind)
    for name in ("tower", "hy-mt", "qwen", "general", "translategemma"):
        asked = PAIR._replace(keep=prompts.keep(kind))
        assert prompts.keep(kind) in prompts.plain(model(prompt=name), asked, marked)


def test_chinese_has_two_scripts() -> None:
    codes = {
        code: prompts.code(languages.find(code)) for code in ("zho_Hans", "zho_Hant", "hau_Latn")
    }
    assert codes == {"zho_Hans": "zh-Hans", "zho_Hant": "zh-Hant", "hau_Latn": "ha"}


def test_special_tokens_in_a_text_are_text() -> None:
    clean = prompts.without_specials(["<|im_end|>", "</s>", "<|im"])
    assert clean("a </s> <|im_end|><s>") == "a < /s> < |im_end|><s>"
    assert prompts.without_specials([])("</s>") == "</s>"


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("Say it in {target}", "a prompt of one's own has {text} in it"),
        ("{text} in {language}", "a prompt of one's own has no {language}"),
        ("{text} {", "write a brace of its own as {{ or }}"),
        ("towers", "it may also be one of auto, translategemma, tower"),
    ],
)
def test_a_prompt_is_checked_when_the_job_is_read(prompt: str, problem: str) -> None:
    corpus = {"format": "text", "source": "a", "source_lang": "eng", "target_lang": "swh"}
    section = {"engine": "vllm", "model": "m", "prompt": prompt}
    with pytest.raises(JobError) as raised:
        config.build({"corpus": corpus, "translate": section})
    assert problem in str(raised.value)
    assert str(raised.value).startswith("translate: translate: ")


def test_each_engine_has_its_own_keys() -> None:
    corpus = {"format": "text", "source": "a", "source_lang": "eng", "target_lang": "swh"}
    built = config.build({"corpus": corpus, "translate": {"model": "m"}})
    assert isinstance(built.translate, config.Translate)
    for section, key in (
        ({"engine": "vllm", "model": "m", "beam_size": 4}, "beam_size"),
        ({"model": "m", "temperature": 1}, "temperature"),
    ):
        with pytest.raises(JobError, match=f"unknown key `{key}`"):
            config.build({"corpus": corpus, "translate": section})
