from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from projner.config import Translate
from projner.errors import JobError
from projner.translate import conversion, load

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROJNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _config(model: str, **settings) -> Translate:
    return Translate(model=model, **{"device": "cpu", "dtype": "float32", **settings})


def test_a_conversion_is_made_once(
    nllb: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = conversion.converted(_config(nllb))
    assert (made / "model.bin").is_file()
    assert made.is_relative_to(own_cache)
    copy = tmp_path / Path(nllb).name
    shutil.copytree(nllb, copy)
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_convert", None)
        assert conversion.converted(_config(nllb)) == made
        assert conversion.converted(_config(str(copy))) == made
    int8 = conversion.converted(_config(nllb, dtype="int8"))
    assert int8 != made
    assert (int8 / "model.bin").stat().st_size < (made / "model.bin").stat().st_size


def test_other_weights_are_converted_anew(nllb: str, own_cache: Path, tmp_path: Path) -> None:
    made = conversion.converted(_config(nllb))
    changed = tmp_path / Path(nllb).name
    shutil.copytree(nllb, changed)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(nllb)
    with torch.no_grad():
        model.model.shared.weight[5] += 1
    model.save_pretrained(changed)
    assert conversion.converted(_config(str(changed))) != made


def test_what_a_killed_process_left_does_no_harm(nllb: str, own_cache: Path) -> None:
    made = conversion.converted(_config(nllb))
    left = made.parent / f".{made.name}.abc"
    made.rename(left)
    (left / "model.bin").write_bytes(b"half")
    again = conversion.converted(_config(nllb))
    assert again == made
    assert (made / "model.bin").stat().st_size > 4
    assert sorted(made.parent.glob(".*")) == []


def test_processes_that_need_it_at_once_make_it_once(nllb: str, own_cache: Path) -> None:
    script = f"""
from projner.config import Translate
from projner.translate import conversion
convert = conversion._convert
def spoken(*given):
    print("made", flush=True)
    convert(*given)
conversion._convert = spoken
config = Translate(model={nllb!r}, device="cpu", dtype="float32")
assert (conversion.converted(config) / "model.bin").is_file()
"""
    running = [_python(script) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert "".join(said) == "made\n"


def test_a_revision_of_the_hub_is_that_revision(nllb: str, own_cache: Path, tmp_path: Path) -> None:
    # Only that revision has been fetched; there is no `main`.
    commit = "0123456789" * 4
    folder = tmp_path / "hub" / "models--some--model" / "snapshots" / commit
    shutil.copytree(nllb, folder)
    script = f"""
from projner.config import Translate
from projner.languages import find
from projner.translate import load
for engine in ("ctranslate2", "transformers"):
    config = Translate(engine=engine, model="some/model", revision={commit!r}, device="cpu")
    print(load(config, 1).knows(find("swh_Latn")))
"""
    process = _python(script, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert process.communicate(timeout=300)[0] == "True\nTrue\n"
    assert [file.name[:10] for file in own_cache.glob("ctranslate2/*int8*[!k]")] == ["model-int8"]


def _python(script: str, **environment: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root, **environment},
    )


def test_a_converted_folder_loads_as_it_is(
    nllb: str, parallel: list[dict[str, str]], own_cache: Path, tmp_path: Path, monkeypatch
) -> None:
    from projner.languages import find

    folder = tmp_path / "converted"
    shutil.copytree(conversion.converted(_config(nllb)), folder)
    for file in Path(nllb).glob("tokenizer*"):
        shutil.copy(file, folder)
    monkeypatch.setattr(conversion, "_convert", None)
    texts = [sentence["eng_Latn"] for sentence in parallel[:10]]
    english, swahili = [find("eng_Latn")] * 10, [find("swh_Latn")] * 10
    ready, usual = load(_config(str(folder)), 1), load(_config(nllb), 1)
    assert ready.begin(texts, english, swahili)() == usual.begin(texts, english, swahili)()


def test_weights_in_a_pickle_are_converted(nllb: str, own_cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(nllb, folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(nllb)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert conversion.converted(_config(str(folder))).is_dir()


def test_what_cannot_be_converted_is_told_in_one_line(tmp_path: Path, own_cache: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(JobError) as error:
        conversion.converted(_config(str(tmp_path / "bert")))
    assert "\n" not in str(error.value)
    assert "bert: " in str(error.value)
    assert sorted(own_cache.glob("ctranslate2/.*")) == []
