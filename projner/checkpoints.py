"""Checkpoints of `transformers`: loaded without running foreign code, refused in one line.

What `transformers` does in silence is an error here: a head that the checkpoint has no weights for,
and a tokenizer without a vocabulary.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from projner.errors import JobError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CONTENT = (".json", ".safetensors", ".bin", ".model", ".txt")


def library() -> ModuleType:
    """The module `transformers`.

    Raises JobError naming the extra where it, or torch, is not installed.
    """
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise JobError(
            f"models need torch and transformers ({error}): pip install 'projner[models]'"
        ) from None
    # Else loading from the hub asks a service there to convert what has no safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    return cast(ModuleType, transformers)


def identity(model: str) -> str:
    """What tells a checkpoint from others: a digest of the folder's content, or the hub's name."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in _CONTENT:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    return f"sha256:{digest.hexdigest()[:16]}"


def whereabouts(model: str, revision: str | None = None) -> str:
    """Where a checkpoint is: `folder`, `cache` or `hub`, from which it will be fetched.

    Raises JobError where it is not, or cannot be reached.
    """
    folder = Path(model).expanduser()
    if (folder / "model.bin").is_file():
        # Converted to CTranslate2's format.
        return "folder"
    with _explained(model):
        if folder.is_dir():
            return "folder"
        library()
        from huggingface_hub import HfApi, try_to_load_from_cache

        if isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str):
            return "cache"
        try:
            HfApi().model_info(model, revision=revision, timeout=20)
        except OSError as error:
            if "Repository Not Found" in str(error):
                raise
            raise JobError(
                f"{model}: no such folder, and the hub cannot be reached; fetch the model first"
            ) from None
    return "hub"


def fetch(model: str, revision: str | None = None) -> None:
    """Have a checkpoint of the hub in this machine's cache; a folder needs no fetching.

    Raises JobError saying why it cannot be had.
    """
    if Path(model).expanduser().is_dir():
        return
    with _explained(model):
        library()
        from huggingface_hub import snapshot_download

        def download(*patterns: str) -> Path:
            # What lies in subfolders are other formats of the same weights.
            return Path(
                snapshot_download(
                    model, revision=revision, allow_patterns=[*patterns], ignore_patterns="*/*"
                )
            )

        folder = download("*.json", "*.txt", "*.model", "*.safetensors")
        if not any(folder.glob("*.safetensors")):
            download("*.bin")


def load_config(model: str, revision: str | None = None) -> Any:
    """The checkpoint's configuration, without its weights.

    Raises JobError saying why it cannot be had.
    """
    with _explained(model):
        auto = library().AutoConfig
        return auto.from_pretrained(_place(model), revision=revision, trust_remote_code=False)


def load_tokenizer(model: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The checkpoint's fast tokenizer, set to read words that are given one by one.

    Raises JobError saying why it cannot be had.
    """
    with _explained(model):
        tokenizer = library().AutoTokenizer.from_pretrained(
            _place(model),
            revision=revision,
            trust_remote_code=False,
            # Byte-level tokenizers take a word without it for the end of the word before.
            add_prefix_space=True,
        )
    if not tokenizer.is_fast:
        raise JobError(f"{model}: has no fast tokenizer; choose a model with a tokenizer.json")
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise JobError(
            f"{model}: its tokenizer has no vocabulary; add the missing file (tokenizer.json)"
        )
    return tokenizer


def load_model(
    architecture: str,
    model: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype,
    device: str,
    config: Any = None,
    new_head: bool = False,
) -> PreTrainedModel:
    """The checkpoint as an `AutoModel...` class of `transformers`, ready to predict with.

    Weights are safetensors, or else a pickle file (`.bin`), of which torch reads tensors and runs
    nothing. `config`, if given, stands for the checkpoint's own. With `new_head`, what the checkpoint
    lacks above its encoder, or has in another size, is made at random, to be trained.

    Raises JobError saying why it cannot be had.
    """
    transformers = library()
    config = config or load_config(model, revision)
    with _explained(model), _silence(transformers):
        loaded, report = getattr(transformers, architecture).from_pretrained(
            _place(model),
            config=config,
            revision=revision,
            trust_remote_code=False,
            weights_only=True,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=new_head,
        )
    # Poolers read the first token for the whole sentence; no room asks for that.
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if new_head:
        missing = [key for key in missing if key.startswith(f"{loaded.base_model_prefix}.")]
    if missing:
        raise JobError(
            f"{model}: has no weights for {', '.join(missing[:3])}, so it was not trained as "
            f"{architecture}; choose a checkpoint that was"
        )
    return loaded.eval().to(device)


def _place(model: str) -> str:
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else model


@contextmanager
def _explained(model: str) -> Iterator[None]:
    """Whatever goes wrong while a checkpoint is read, as one line."""
    folder = Path(model).expanduser()
    if not folder.is_dir() and (folder.exists() or model[0] in "./~" or model.count("/") > 1):
        raise JobError(f"{model}: no such folder")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise JobError(f"{model}: has no config.json, so it is not a checkpoint's folder")
    try:
        yield
    except JobError:
        raise
    # Torch, safetensors and the tokenizers have exceptions of their own for broken files.
    except Exception as error:
        raise JobError(f"{model}: {_reason(folder, error)}") from error


def _reason(folder: Path, error: Exception) -> str:
    text = str(error)
    if "trust_remote_code" in text:
        return "needs Python code of its own, which projner does not run; choose another model"
    if "Weights only load failed" in text:
        return "its .bin file holds more than weights, which projner does not run; choose another model"
    if "does not recognize this architecture" in text:
        return "its model_type is unknown to the transformers installed here; upgrade it"
    if "no file named" in text or "does not appear to have a file" in text:
        return "has no weights; put model.safetensors there"
    if "connect to" in text or "on the local disk" in text:
        return "no such folder, and the hub cannot be reached; fetch the model first"
    if "not a valid model identifier" in text or "Repository Not Found" in text:
        return "no such folder, and no such model on the hub; mind the spelling, or log in"
    if "Unrecognized configuration class" in text:
        task = re.sub(r".*AutoModel(For)?(\w*)\..*", r"\2", text.splitlines()[0])
        return f"its architecture has no head for {task or 'this'}; choose another model"
    if "ignore_mismatched_sizes" in text:
        return "its weights do not fit its config.json; compare id2label with the head's size"
    lines = text.strip().splitlines() or [type(error).__name__]
    return f"cannot be loaded: {lines[0]}"


@contextmanager
def _silence(transformers: ModuleType) -> Iterator[None]:
    """No progress bars and tables while weights are loaded; what they tell becomes an error."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
