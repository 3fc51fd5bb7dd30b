"""Loading of checkpoints; here, beside the tiny ones that are loaded and broken."""

from __future__ import annotations

import json
import sys

import pytest

from projner.checkpoints import fetch, identity, library, load_config, load_model, load_tokenizer
from projner.errors import JobError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def _load(model, **options):
    settings = {"dtype": torch.float32, "device": "cpu", **options}
    load_tokenizer(str(model))
    return load_model("AutoModelForTokenClassification", str(model), **settings)


def _assert_refused(model, message, load=_load):
    with pytest.raises(JobError, match=message) as caught:
        load(str(model))
    assert str(caught.value).startswith(str(model))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_ready_to_predict_with(checkpoint):
    model = _load(checkpoint, dtype=torch.bfloat16)
    assert not model.training
    assert model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/nowhere/tagger", "no such folder$"),
        ("./nowhere", "no such folder$"),
        ("~/no/where", "no such folder$"),
        ("nobody/nothing", "no such folder, and the hub cannot be reached"),
        ("nothing", "no such folder, and the hub cannot be reached"),
    ],
)
def test_models_that_are_not_there(model, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _assert_refused(model, message)
    _assert_refused(model, message, load_config)
    _assert_refused(model, message, fetch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "zork"}, "its model_type is unknown to the transformers installed here"),
        ({"model_type": "m2m_100"}, "its architecture has no head for TokenClassification"),
        ({"id2label": {"0": "O", "1": "B-PER"}}, "its weights do not fit its config.json"),
        ({"hidden_size": 31}, "cannot be loaded: .+"),
    ],
)
def test_configurations_that_do_not_fit(copy_of, changes, message):
    _assert_refused(copy_of("wordpiece", **changes), message)


def test_code_in_a_checkpoint_is_not_run(copy_of, tmp_path):
    folder = copy_of("wordpiece")
    config = json.loads((folder / "config.json").read_text())
    del config["model_type"]
    config["auto_map"] = {"AutoConfig": "code.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    _assert_refused(folder, "needs Python code of its own, which projner does not run")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("*.safetensors", "has no weights; put model.safetensors there"),
        ("config.json", "has no config.json"),
        ("tokenizer*", "its tokenizer has no vocabulary"),
    ],
)
@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_files_that_are_missing(copy_of, kind, without, message):
    _assert_refused(copy_of(kind, without=without), message)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_files_that_are_broken(copy_of, file):
    folder = copy_of("wordpiece")
    (folder / file).write_text("{ not this")
    _assert_refused(folder, "cannot be loaded: .+")


def test_a_file_is_no_checkpoint(checkpoints):
    _assert_refused(checkpoints["wordpiece"] / "config.json", "no such folder$")


class Malice:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_of_a_pickle_the_weights_are_loaded_and_nothing_is_run(copy_of, tmp_path):
    folder = copy_of("wordpiece")
    weights = _load(folder).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    loaded = _load(folder).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())
    torch.save({**weights, "more": Malice(tmp_path / "ran")}, folder / "pytorch_model.bin")
    _assert_refused(folder, "its .bin file holds more than weights, which projner does not run")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("weights", "downloads"), [("model.safetensors", 1), ("pytorch_model.bin", 2)]
)
def test_pickles_are_fetched_only_when_nothing_else_is_there(
    tmp_path, monkeypatch, weights, downloads
):
    wanted = []

    def snapshot_download(model, *, revision, allow_patterns, ignore_patterns):
        assert (model, revision) == ("somebody/tagger", "v1")
        wanted.append(allow_patterns)
        return str(tmp_path)

    (tmp_path / weights).touch()
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    fetch("somebody/tagger", "v1")
    assert len(wanted) == downloads
    assert "*.safetensors" in wanted[0]
    assert "*.bin" not in wanted[0]
    assert wanted[1:] == [["*.bin"]] * (downloads - 1)


def test_a_folder_is_not_fetched(checkpoints, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)
    fetch(str(checkpoints["wordpiece"]))


def test_an_encoder_is_no_tagger(copy_of):
    folder = copy_of("wordpiece")
    transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)
    _assert_refused(folder, "has no weights for classifier.bias, classifier.weight, so it was not")
    encoder = load_model("AutoModel", str(folder), dtype=torch.float32, device="cpu")
    assert encoder.config.hidden_size == 32


def test_words_begin_with_a_space_whatever_the_checkpoint_says(checkpoints):
    # Without it, a byte-level tokenizer reads a word as the end of the word before.
    tokenizer = load_tokenizer(str(checkpoints["bytes"]))
    tokens = tokenizer(["market", "market"], is_split_into_words=True, add_special_tokens=False)
    assert "".join(tokens.tokens()) == "ĠmarketĠmarket"


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_missing_library_names_its_extra(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(JobError, match=r"pip install 'projner\[models\]'"):
        library()


def test_loading_leaves_the_librarys_messages_as_they_were(checkpoints):
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    _load(checkpoints["wordpiece"])
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_identity_follows_what_is_loaded(checkpoints, copy_of):
    folder = copy_of("wordpiece")
    before = identity(str(folder))
    assert before == identity(str(checkpoints["wordpiece"])) != identity(str(checkpoints["bytes"]))
    (folder / "README.md").write_text("about")
    assert identity(str(folder)) == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert identity(str(folder)) != before
    assert identity("somebody/tagger") == "somebody/tagger"
