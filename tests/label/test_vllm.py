"""What vLLM's answers become, with the model of transformers in its place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from projner import serving
from projner.config import Label
from projner.errors import JobError
from projner.label import Labeller

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


class Pooling:
    """In the place of `vllm.LLM`: the scores of every sub-word of each prompt."""

    def __init__(self, folder: str) -> None:
        self.model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
        self.calls = 0

    def encode(self, prompts: list[dict[str, Any]], *, pooling_task: str, **_: Any) -> list[Any]:
        assert pooling_task == "token_classify"
        self.calls += 1
        answers = []
        for prompt in prompts:
            with torch.inference_mode():
                logits = self.model(torch.tensor([prompt["prompt_token_ids"]])).logits[0]
            answers.append(SimpleNamespace(outputs=SimpleNamespace(data=logits)))
        return answers


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Pooling, int]]:
    """What was started, with the sub-words that it was told to read."""
    library = SimpleNamespace(
        PoolingParams=lambda **given: given,
        ModelRegistry=SimpleNamespace(
            get_supported_archs=lambda: [
                "BertForTokenClassification",
                "XLMRobertaForTokenClassification",
            ]
        ),
        __version__="0.32.0",
    )
    started: list[tuple[Pooling, int]] = []

    def start(config: Label, runner: str, longest: int, *_: Any, **__: Any) -> Pooling:
        assert runner == "pooling"
        started.append((Pooling(config.model), longest))
        return started[-1][0]

    monkeypatch.setattr(serving, "library", lambda threads=None: library)
    monkeypatch.setattr(serving, "device", lambda asked: "cpu")
    monkeypatch.setattr(serving, "start", start)
    return started


@pytest.mark.parametrize("settings", [{}, {"max_tokens": 16, "overlap": 5, "pooling": "mean"}])
@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_words_are_read_as_by_transformers(
    vllm: list[tuple[Pooling, int]],
    checkpoints: dict[str, Path],
    sentences: list[list[str]],
    kind: str,
    settings: dict[str, Any],
) -> None:
    found = []
    for engine in ("vllm", "transformers"):
        section = Label(
            engine=engine, model=str(checkpoints[kind]), dtype="float32", device="cpu", **settings
        )
        labeller = Labeller(section)
        labeller.setup()
        counts = np.array([*map(len, sentences)])
        tokens = pa.array(sentences, pa.list_(pa.string()))
        found.append((labeller._words(tokens, counts), labeller._tagger.limit, labeller.counters()))
    (ours, limit, counted), (theirs, their_limit, _) = found
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    ((pooling, longest),) = vllm
    assert (limit, longest) == (their_limit, limit + 2)
    assert pooling.calls == 1
    assert counted["padding"] == 0


def test_a_tagger_that_is_not_served_says_who_serves_it(
    vllm: list[tuple[Pooling, int]], checkpoints: dict[str, Path]
) -> None:
    labeller = Labeller(Label(engine="vllm", model=str(checkpoints["deberta"]), dtype="float32"))
    with pytest.raises(JobError, match=r"does not serve Deberta.*; use engine transformers$"):
        labeller.setup()
    assert not vllm


def test_engines_are_other_runs(checkpoints: dict[str, Path]) -> None:
    settings = [
        Labeller(Label(model=str(checkpoints["unigram"]), device="cpu", **given)).settings()
        for given in ({}, {"environment": "/x", "gpu_memory": 0.5}, {"engine": "vllm"})
    ]
    assert settings[0] == settings[1] != settings[2]
