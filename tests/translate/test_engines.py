from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from projner import devices
from projner.config import Translate
from projner.errors import JobError
from projner.languages import Language, find
from projner.translate import checks, load, resolve

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ENGLISH, SWAHILI = find("eng_Latn"), find("swh_Latn")
ENGINES = ["ctranslate2", "transformers"]


def _load(engine: str, model: str, **settings):
    exact = {"device": "cpu", "dtype": "float32", "beam_size": 1}
    return load(Translate(engine=engine, model=model, **{**exact, **settings}), 1)


def _both_ways(
    parallel: list[dict[str, str]],
) -> tuple[list[str], list[Language], list[Language], list[str]]:
    """Texts, their languages, the others, and what a person would write; in turns."""
    rows = [
        (sentence[source.code], source, target, sentence[target.code])
        for n, sentence in enumerate(parallel)
        for source, target in [(ENGLISH, SWAHILI) if n % 2 else (SWAHILI, ENGLISH)]
    ]
    texts, sources, targets, wanted = map(list, zip(*rows, strict=True))
    return texts, sources, targets, wanted


def _same(first: list, second: list) -> float:
    return float(np.mean([a == b for a, b in zip(first, second, strict=True)]))


class Peer:
    """What transformers does by itself, one sentence at a time."""

    def __init__(self, folder: str) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()

    def translate(self, text: str, source: Language, target: Language) -> str:
        self.tokenizer.src_lang = source.code
        made = self.model.generate(
            **self.tokenizer(text, return_tensors="pt"),
            forced_bos_token_id=self.tokenizer.convert_tokens_to_ids(target.code),
            max_new_tokens=100,
        )
        return self.tokenizer.decode(made[0], skip_special_tokens=True)

    def scores(self, text: str, translation: str, source: Language, target: Language) -> np.ndarray:
        self.tokenizer.src_lang, self.tokenizer.tgt_lang = source.code, target.code
        batch = self.tokenizer(text, text_target=translation, return_tensors="pt")
        with torch.no_grad():
            logits = self.model(**batch).logits[0]
        each = logits.log_softmax(-1).gather(1, batch["labels"][0][:, None])
        return each[1:, 0].double().numpy()


def test_the_model_has_learnt(nllb: str, parallel: list[dict[str, str]]) -> None:
    texts, sources, targets, wanted = _both_ways(parallel[:100])
    made = _load("ctranslate2", nllb).begin(texts, sources, targets)()
    assert _same([text for text, _ in made], wanted) > 0.9


@pytest.mark.parametrize("beam_size", [1, 4])
def test_engines_agree(nllb: str, parallel: list[dict[str, str]], beam_size: int) -> None:
    texts, sources, targets, _ = _both_ways(parallel)
    first, second = (
        _load(engine, nllb, beam_size=beam_size).begin(texts, sources, targets)()
        for engine in ENGINES
    )
    assert _same(first, second) >= 0.99
    assert len({text for text, _ in first}) > 100


def test_the_reference_is_what_transformers_does(nllb: str, parallel) -> None:
    texts, sources, targets, _ = _both_ways(parallel[100:140])
    made = _load("transformers", nllb).begin(texts, sources, targets)()
    peer = Peer(nllb)
    assert [text for text, _ in made] == [*map(peer.translate, texts, sources, targets)]


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_mean_log_probabilities(engine: str, nllb: str, parallel) -> None:
    texts, sources, targets, wanted = _both_ways(parallel[100:130])
    # Others' translations are unlikely, and of other lengths.
    wanted = [*wanted[:15], *wanted[:15]]
    loaded = _load(engine, nllb, batch_tokens=200)
    scores = loaded.score(texts, wanted, sources, targets)
    each = loaded.token_scores(texts, wanted, sources, targets)
    peer = Peer(nllb)
    expected = [*map(peer.scores, texts, wanted, sources, targets)]
    assert [*map(len, each)] == [len(ids) + 1 for ids in loaded.subwords(wanted)]
    np.testing.assert_allclose(np.concatenate(each), np.concatenate(expected), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(scores, [row.mean() for row in expected], rtol=1e-3, atol=1e-4)
    assert scores[:15].max() > -0.5 > scores[15:].mean()


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_do_not_matter(engine: str, nllb: str, parallel) -> None:
    texts, sources, targets, _ = _both_ways(parallel[100:160])
    texts = [text if n % 3 else f"{text} {text}" for n, text in enumerate(texts)]
    small, large = (_load(engine, nllb, batch_tokens=tokens) for tokens in (1, 5000))
    assert small.begin(texts, sources, targets)() == large.begin(texts, sources, targets)()
    assert small.padding.tokens == large.padding.tokens > sum(small.lengths(texts))
    assert small.padding.padding == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_m2m100(engine: str, m2m: str, parallel: list[dict[str, str]]) -> None:
    texts, sources, targets, _ = _both_ways(parallel[:30])
    settings = {"max_length_ratio": 0.1}
    made = _load(engine, m2m, **settings).begin(texts, sources, targets)()
    reference = _load("transformers", m2m, **settings).begin(texts, sources, targets)()
    assert _same(made, reference) >= 0.99
    # Random weights do not end; what counts is that the languages make a difference.
    others = _load(engine, m2m, **settings).begin(texts, sources, sources)()
    assert _same(made, others) < 0.5


@pytest.mark.parametrize("engine", ENGINES)
def test_endless_translations_are_told(
    engine: str, nllb: str, parallel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "ROOM", 0)
    texts, sources, targets, _ = _both_ways(parallel[:20])
    cut = _load(engine, nllb, max_length_ratio=0.5)
    caps = [checks.cap(length, 0.5, 999) for length in cut.lengths(texts)]
    flaws = [flaw for _, flaw in cut.begin(texts, sources, targets)()]
    assert flaws == [f"the translation has no end within {cap} sub-words" for cap in caps]

    # The longest that is allowed is whole: the language and the end do not count.
    whole = _load(engine, nllb, max_length_ratio=9)
    made = whole.begin(texts, sources, targets)()
    lengths = whole.lengths([text for text, _ in made])
    for text, source, target, length in zip(texts[:4], sources, targets, lengths, strict=False):
        own = len(whole.codec.encode([text])[0])
        exact = _load(engine, nllb, max_length_ratio=length / own)
        short = _load(engine, nllb, max_length_ratio=(length - 1) / own)
        assert exact.begin([text], [source], [target])()[0].flaw is None
        assert short.begin([text], [source], [target])()[0].flaw is not None


@pytest.mark.parametrize("engine", ENGINES)
def test_repetitions_can_be_forbidden(engine: str, nllb: str) -> None:
    text = "Amina Okoye na Amina Okoye na Amina Okoye na Amina Okoye"

    def repeated(**settings) -> int:
        loaded = _load(engine, nllb, **settings)
        ((made, _),) = loaded.begin([text], [SWAHILI], [ENGLISH])()
        (ids,) = loaded.codec.encode([made])
        pairs = [*itertools.pairwise(ids)]
        return len(pairs) - len(set(pairs))

    assert repeated() > 0
    assert repeated(no_repeat_ngram_size=2) == 0
    assert repeated(repetition_penalty=5) < repeated()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_that_does_not_fit_is_halved(
    engine: str, nllb: str, parallel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, sources, targets, _ = _both_ways(parallel[:40])
    loaded = _load(engine, nllb)
    expected = loaded.begin(texts, sources, targets)()
    begin, sizes = loaded._begin, []

    def cramped(rows, languages, cap):
        finish = begin(rows, languages, cap)

        def finish_or_fail():
            sizes.append(len(rows))
            if len(rows) > 3:
                raise RuntimeError("CUDA failed with error out of memory")
            return finish()

        return finish_or_fail

    monkeypatch.setattr(loaded, "_begin", cramped)
    assert loaded.begin(texts, sources, targets)() == expected
    assert max(sizes) > 3


def test_auto_is_resolved_once() -> None:
    for engine, dtypes in (
        ("ctranslate2", {"cpu": "int8", "cuda": "float16"}),
        ("transformers", {"cpu": "float32", "cuda": "bfloat16", "mps": "float16"}),
    ):
        resolved = resolve(Translate(engine=engine, model="m"))
        assert resolved.dtype == dtypes[resolved.device]
        assert resolve(resolved) == resolved
    kept = Translate(model="m", device="cpu", dtype="float32")
    assert resolve(kept) == kept


def _absent(name: str):
    return lambda patch: patch.setitem(sys.modules, name, None)


def _no_gpu(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    patch.setattr(devices, "choose_device", _refuse_device)


def _refuse_device(asked: str) -> str:
    raise JobError(f"device {asked} is not on this machine, which has cpu; use auto")


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        ({}, _absent("ctranslate2"), "engine ctranslate2 needs .*pip install 'projner.models.'"),
        (
            {"engine": "transformers"},
            _absent("transformers"),
            "models need .*pip install 'projner.models.'",
        ),
        ({"device": "cuda"}, _no_gpu, "device cuda: ctranslate2 finds none on this machine"),
        ({"device": "cuda", "engine": "transformers"}, _no_gpu, "device cuda is not on this"),
        ({"device": "mps"}, lambda patch: None, "device mps: ctranslate2 finds none"),
        (
            {"device": "cpu", "dtype": "float16"},
            lambda patch: None,
            "dtype float16: ctranslate2 has .* on cpu; use auto",
        ),
        ({"model": "/no/such"}, lambda patch: None, "/no/such: no such folder"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(
    settings, change, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    with pytest.raises(JobError, match=message) as error:
        load(Translate(**{"model": "m", **settings}))
    assert "\n" not in str(error.value)


def test_int8_is_for_ctranslate2() -> None:
    with pytest.raises(ValidationError, match="dtype int8 needs engine ctranslate2"):
        Translate(engine="transformers", model="m", dtype="int8")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tokenizer_of_another_model_is_refused(engine: str, nllb: str, tmp_path) -> None:
    folder = tmp_path / "mixed"
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(nllb)
    model.resize_token_embeddings(100)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(nllb).save_pretrained(folder)
    with pytest.raises(JobError, match=r"sub-words|cannot convert") as error:
        _load(engine, str(folder))
    assert "\n" not in str(error.value)
