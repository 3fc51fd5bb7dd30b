"""Encoders that learn from the corpus they align: better links, the same every time, kept in the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

torch = pytest.importorskip("torch", reason="needs the extra projner[models]")
transformers = pytest.importorskip("transformers", reason="needs the extra projner[models]")

from projner import config, methods, pipeline, record  # noqa: E402
from projner.align.encoder import EncoderAligner  # noqa: E402
from projner.align.fine_tune import FineTuned  # noqa: E402
from projner.demo import encoder as toy  # noqa: E402
from projner.demo.models import CORPUS, read_links  # noqa: E402
from projner.errors import JobError  # noqa: E402
from projner.evaluate import f1  # noqa: E402


def side(split: str, language: str) -> list[list[str]]:
    return [
        list(words) for words in f1.read_labelled(str(CORPUS / f"{split}.{language}.conll")).tokens
    ]


def table(split: str, limit: int | None = None) -> pa.Table:
    rows = [
        {
            "source_lang": "eng_Latn",
            "target_lang": "swh_Latn",
            "source_tokens": source,
            "target_tokens": target,
            "status": "ok",
            "status_detail": None,
        }
        for source, target in zip(side(split, "eng"), side(split, "swh"), strict=True)
    ]
    return pa.Table.from_pylist(rows[:limit], schema=record.schema(list(rows[0])))


def error_rate(aligner: Any) -> float:
    """Alignment error rate on the demo corpus's held-out pairs."""
    aligner.setup(1)
    rows = aligner(table("test"))["links"].to_pylist()
    found = [{(link["source"], link["target"]) for link in row} for row in rows]
    gold = [set(links) for links in read_links("swh", "test")]
    right = sum(len(a & b) for a, b in zip(found, gold, strict=True))
    return 1 - 2 * right / (sum(map(len, found)) + sum(map(len, gold)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that has begun to align English and Swahili, with a masked-language head of no use yet."""
    folder = tmp_path_factory.mktemp("toy")
    sides = side("train", "eng"), side("train", "swh")
    pairs = [toy.Pair(*pair) for pair in zip(*sides, read_links("swh"), strict=True)]
    toy.train(pairs, folder, steps=60)
    bare = transformers.AutoModel.from_pretrained(folder)
    torch.manual_seed(0)
    headed = transformers.BertForMaskedLM(bare.config)
    headed.bert.load_state_dict(bare.state_dict(), strict=False)
    headed.save_pretrained(folder)
    return folder


def tuned(model: Path, folder: Path, pairs: pa.Table | None = None, **settings: Any) -> FineTuned:
    folder.mkdir(exist_ok=True)
    aligner = EncoderAligner(config.Encoder(engine="encoder", model=str(model), layer=2))
    step = FineTuned(aligner, config.FineTune(**{"learning_rate": 1e-3, **settings}))
    step.learn([table("train") if pairs is None else pairs], folder)
    return step


def losses(folder: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((folder / "losses.json").read_text())
    return found


def test_self_training_finds_more_of_the_true_links(model: Path, tmp_path: Path) -> None:
    before = error_rate(EncoderAligner(config.Encoder(engine="encoder", model=str(model), layer=2)))
    step = tuned(model, tmp_path / "so", objectives=("so", "co"), steps=120)
    assert error_rate(step.recall(tmp_path / "so")) < before - 0.1
    first, *_, last = losses(tmp_path / "so")["co"]
    assert last < first - 0.1
    assert (tmp_path / "so" / "model.safetensors").is_file()


@pytest.mark.parametrize("objective", ["psi", "tlm", "mlm"])
def test_objectives_are_learnt(model: Path, tmp_path: Path, objective: str) -> None:
    # So few pairs are learnt by heart.
    pairs = table("train", 8)
    steps = 160 if objective == "psi" else 60
    rate = 2e-3 if objective == "psi" else 5e-3
    settings = {"objectives": (objective,), "steps": steps, "learning_rate": rate}
    tuned(model, tmp_path / "one", pairs, **settings)
    first, *_, last = losses(tmp_path / "one")[objective]
    assert last < 0.8 * first


def test_the_same_seed_gives_the_same_model(model: Path, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        settings = {"objectives": ("so", "psi", "tlm"), "steps": 3, "seed": seed}
        tuned(model, tmp_path / name, table("train", 40), **settings)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_without_two_pairs_nothing_changes(model: Path, tmp_path: Path) -> None:
    step = tuned(model, tmp_path / "none", table("train", 1))
    assert losses(tmp_path / "none") == {"so": []}
    untouched = EncoderAligner(config.Encoder(engine="encoder", model=str(model), layer=2))
    assert error_rate(step.recall(tmp_path / "none")) == error_rate(untouched)


def test_a_translation_models_encoder_learns(tmp_path: Path) -> None:
    translator = pytest.importorskip("projner.demo.translator")
    texts = ["amina came to kano", "musa saw the river", "water in lagos", "the river of kano"]
    parallel = [{"eng_Latn": text, "swh_Latn": text[::-1]} for text in texts]
    translator.train(parallel, tmp_path / "nllb", steps=1, pieces=60)
    step = tuned(tmp_path / "nllb", tmp_path / "tuned", table("train", 12), steps=2)
    aligner = step.recall(tmp_path / "tuned")
    aligner.setup(1)
    assert aligner(table("test", 3))["links"].null_count == 0
    with pytest.raises(JobError, match=r"nllb: has no masked-language head; leave tlm out"):
        tuned(tmp_path / "nllb", tmp_path / "other", objectives=("so", "tlm"))


def test_a_model_without_the_head_is_refused(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    transformers.AutoModel.from_pretrained(model).save_pretrained(bare)
    transformers.AutoTokenizer.from_pretrained(model).save_pretrained(bare)
    with pytest.raises(JobError, match=r"has no weights for cls\.predictions"):
        tuned(bare, tmp_path / "tuned", objectives=("mlm",))


def test_divergence_is_told(model: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"diverges; lower align.fine_tune.learning_rate"):
        tuned(model, tmp_path / "tuned", steps=20, learning_rate=1e30)


def test_each_setting_is_in_the_fingerprint(model: Path) -> None:
    def name(**settings: Any) -> str:
        tune = {"engine": "encoder", "model": str(model), "layer": 2, "fine_tune": settings}
        job = config.build(
            {
                "corpus": {
                    "format": "bitext",
                    "source": "s",
                    "target": "t",
                    "source_lang": "eng_Latn",
                    "target_lang": "swh_Latn",
                },
                "align": tune if settings else {**tune, "fine_tune": None},
            }
        )
        given = {"source_text", "source_tokens", "target_text", "target_tokens", "source_entities"}
        return methods.chain(job, given)[0].fingerprint

    others = ({"steps": 9}, {"seed": 1}, {"objectives": ["so", "co"]}, {"sample": 50}, {"pairs": 4})
    names = [name(), name(steps=2000), *(name(**each) for each in others)]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_a_job_learns_once_and_every_actor_aligns_with_that(
    model: Path, bitext: Callable[..., dict[str, Any]], ray_session: str
) -> None:
    job = bitext(links=[])
    tune = {"steps": 4, "learning_rate": 1e-3}
    job["align"] = {"engine": "encoder", "model": str(model), "layer": 2, "fine_tune": tune}
    result = pipeline.project(config.build(job))
    assert result.snapshot.rows == 5
    (learnt,) = Path(job["output"]).glob("runs/*/steps/encoder+fine_tune-*")
    assert len(losses(learnt)["so"]) == 4
    table = result.run.folder
    stamp = (learnt / "model.safetensors").stat().st_mtime_ns
    # What has been learnt stands, also for rows that are computed later.
    for shard in Path(job["output"]).glob("runs/*/data/*"):
        shard.unlink()
    assert pipeline.project(config.build(job)).run.folder == table
    assert (learnt / "model.safetensors").stat().st_mtime_ns == stamp
