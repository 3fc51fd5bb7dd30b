"""Jobs whose taggers and translators are vLLM's, in an environment that this process has not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from projner import config, languages, pipeline
from projner.config import LanguageModel
from projner.demo import causal
from projner.demo.models import Models, Served
from projner.demo.write_corpus import CORPUS
from projner.errors import JobError
from projner.evaluate import f1
from projner.translate import prompts
from tests.vllm import inside

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

Row = dict[str, Any]


def rows_of(folder: Path, **sections: Any) -> list[Row]:
    """What a job with its output in a folder leaves."""
    result = pipeline.project(config.build({**sections, "output": str(folder / "out")}))
    return list(result.run.read(result.snapshot).to_pylist())


def bitext(plain: Path) -> dict[str, Any]:
    return {
        "format": "bitext",
        "source": str(plain / "eng"),
        "target": str(plain / "swh"),
        "source_lang": "eng_Latn",
        "target_lang": "swh_Latn",
    }


def to_translate(**settings: Any) -> dict[str, Any]:
    corpus = {
        "format": "conll",
        "source": "test.eng.conll",
        "root": str(CORPUS),
        "source_lang": "eng_Latn",
        "target_lang": ["swh_Latn", "hau_Latn"],
    }
    return {**corpus, **settings}


def asked(served: Served, python: str, **settings: Any) -> dict[str, Any]:
    section = {"engine": "vllm", "model": str(served.causal), "prompt": causal.PROMPT}
    return {**section, "dtype": "float32", "environment": python, **settings}


def test_this_process_has_no_vllm() -> None:
    assert find_spec("vllm") is None


def test_labels_are_those_of_transformers(
    served: Served, vllm_python: str, plain: Path, tmp_path: Path
) -> None:
    found = {}
    for engine in ("vllm", "transformers"):
        label = {"engine": engine, "model": str(served.served_tagger), "dtype": "float32"}
        if engine == "vllm":
            label["environment"] = vllm_python
        found[engine] = rows_of(
            tmp_path / engine,
            corpus=bitext(plain),
            label=label,
            align={"engine": "surface"},
            project={"score": "ner"},
        )
    assert len(found["vllm"]) > 50
    entities = 0
    for ours, theirs in zip(found["vllm"], found["transformers"], strict=True):
        for column in ("source_entities", "target_labels", "target_entities"):
            pair = [[dict(each) for each in row[column]] for row in (ours, theirs)]
            scores = [[each.pop("score") for each in side] for side in pair]
            for side in pair:
                for each in side:
                    each.pop("margin", None)
            assert pair[0] == pair[1]
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)
        assert ours["ner_tags"] == theirs["ner_tags"]
        entities += len(ours["source_entities"])
    assert entities > 50


def test_probabilities_are_those_of_transformers(
    served: Served, demo_models: Models, vllm_python: str, plain: Path
) -> None:
    command = [
        vllm_python,
        inside.__file__,
        served.served_tagger,
        demo_models.tagger,
        plain / "eng",
    ]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in inside.VARIANTS:
        assert found[name]["words"] > 500
        assert found[name]["difference"] < 1e-4
    assert "vLLM cannot serve it" in found["small heads"]
    assert len(found["small heads"].splitlines()) == 1


def test_translations_are_those_of_transformers(
    served: Served, vllm_python: str, tmp_path: Path
) -> None:
    rows = rows_of(
        tmp_path,
        corpus=to_translate(limit=48),
        translate=asked(served, vllm_python),
        align={"engine": "surface"},
    )
    assert len(rows) == 96
    made = [row for row in rows if row["status"] == "ok"]
    assert len(made) > 60
    same = sum(
        row["target_text"] == text for row, text in zip(made, greedy(served, made), strict=True)
    )
    # Sums in another order may tip a close choice.
    assert same >= 0.95 * len(made)
    right = 0
    for code in ("swh", "hau"):
        gold = f1.read_labelled(str(CORPUS / f"test.{code}.conll")).tokens[:48]
        here = [row for row in rows if row["target_lang"].startswith(code)]
        right += sum(row["target_tokens"] == words for row, words in zip(here, gold, strict=True))
    # Toys do not translate much as people do.
    assert right > 12
    assert all(row["status_detail"] for row in rows if row["status"] != "ok")


def greedy(served: Served, rows: list[Row]) -> list[str]:
    """What transformers makes of the same prompts, one at a time."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(served.causal)
    model = transformers.AutoModelForCausalLM.from_pretrained(served.causal).eval()
    section = LanguageModel(engine="vllm", model=str(served.causal), prompt=causal.PROMPT)
    texts = []
    for row in rows:
        pair = prompts.Asked(
            *(languages.find(row[f"{side}_lang"]) for side in ("source", "target"))
        )
        chat = prompts.messages(section, pair, row["source_text"])
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            made = model.generate(ids, do_sample=False, max_new_tokens=96)
        answer = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        texts.append(" ".join(answer.split()))
    return texts


@pytest.mark.parametrize("kind", ["brackets", "xml"])
def test_entities_are_carried_between_markers(
    served: Served, vllm_python: str, tmp_path: Path, kind: str
) -> None:
    rows = rows_of(
        tmp_path,
        corpus=to_translate(limit=32),
        translate=asked(served, vllm_python),
        project={"method": "marked", "markers": kind},
    )
    assert {row["status"] for row in rows} <= {"ok", "markers_lost", "translation_failed"}
    known = right = 0
    for code in ("swh", "hau"):
        gold = f1.read_labelled(str(CORPUS / f"test.{code}.conll"))
        here = [row for row in rows if row["target_lang"].startswith(code)]
        for row, words, tags in zip(here, gold.tokens[:32], gold.tags[:32], strict=True):
            if row["status"] == "ok" and row["tokens"] == words:
                known += 1
                right += row["ner_tags"] == tags
    # Toys do not translate much as people do; what they do so is labelled so.
    assert known > 4
    assert right >= 0.9 * known


def test_sampled_translations_are_repeatable(
    served: Served, vllm_python: str, tmp_path: Path
) -> None:
    texts = []
    for name, rows in (("once", 512), ("again", 8)):
        drawn = asked(served, vllm_python, temperature=1.5, seed=3)
        found = rows_of(
            tmp_path / name,
            corpus=to_translate(limit=16),
            translate=drawn,
            align={"engine": "surface"},
            resources={"batch_rows": rows},
        )
        texts.append([row["target_text"] for row in found])
    assert texts[0] == texts[1]


def test_a_killed_worker_costs_nothing(served: Served, vllm_python: str, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill() -> None:
        """Once something is written: what is in work is not."""
        while not list((tmp_path / "out").glob("runs/*/data/*.parquet")):
            time.sleep(0.02)
        for process in workers_of(vllm_python):
            killed.append(process)
            os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    rows = rows_of(
        tmp_path,
        corpus=to_translate(),
        translate=asked(served, vllm_python),
        align={"engine": "surface"},
        resources={"batch_rows": 8, "shard_rows": 8},
    )
    thread.join(10)
    assert killed
    sentences = len(f1.read_labelled(str(CORPUS / "test.eng.conll")).tokens)
    assert len(rows) == len({row["id"] for row in rows}) == 2 * sentences
    assert not [row for row in rows if row["status"] == "error"]


def workers_of(python: str) -> list[int]:
    """Ray's workers that have loaded libraries of an environment."""
    place = str(Path(python).parents[1])
    found = []
    for process in Path("/proc").iterdir():
        try:
            if (process / "cmdline").read_bytes().startswith(b"ray::"):
                found += [int(process.name)] if place in (process / "maps").read_text() else []
        except (OSError, ValueError):
            continue
    return found


def test_a_model_with_codes_is_for_other_engines(
    demo_models: Models, vllm_python: str, tmp_path: Path
) -> None:
    section = {"engine": "vllm", "model": str(demo_models.translator), "environment": vllm_python}
    with pytest.raises(JobError) as raised:
        rows_of(
            tmp_path,
            corpus=to_translate(limit=4),
            translate=section,
            align={"engine": "surface"},
        )
    assert "does not serve M2M100ForConditionalGeneration" in str(raised.value)
    assert str(raised.value).endswith("use engine ctranslate2 or transformers")
