"""Checkpoints converted to CTranslate2's format, once on each machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from projner import cache, checkpoints
from projner.config import Translate, fingerprint
from projner.errors import JobError
from projner.translate.codec import load_tokenizer


def library() -> ModuleType:
    """The module `ctranslate2`.

    Raises JobError naming the extra where it is not installed.
    """
    try:
        import ctranslate2
    except ImportError as error:
        raise JobError(
            f"engine ctranslate2 needs ctranslate2 ({error}): pip install 'projner[models]'"
        ) from None
    return cast(ModuleType, ctranslate2)


def is_converted(model: str) -> bool:
    """Whether `model` is a folder that CTranslate2 can load as it is."""
    return (Path(model).expanduser() / "model.bin").is_file()


def converted(config: Translate) -> Path:
    """The folder with `config.model` in CTranslate2's format and `config.dtype`.

    It lies in the cache (`cache.folder`) and is made there if need be, by one process at a time; a
    folder in the cache is whole.

    Raises JobError saying why it cannot be had.
    """
    if is_converted(config.model):
        return Path(config.model).expanduser()
    # A dependency of torch and transformers.
    from filelock import FileLock

    target = cache.folder() / "ctranslate2" / _name(config)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                _convert(config, target)
    return target


def _name(config: Translate) -> str:
    """A name that differs for models, revisions, precisions and versions of CTranslate2."""
    loaded = checkpoints.load_config(config.model, config.revision)
    key = fingerprint(
        checkpoints.identity(config.model),
        getattr(loaded, "_commit_hash", None) or config.revision,
        library().__version__,
    )
    return f"{Path(config.model).name}-{config.dtype}-{key}"


def _convert(config: Translate, target: Path) -> None:
    for unfinished in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        converter = _converter(config)
        converter.convert(str(work / "model"), quantization=config.dtype)
        (work / "model").rename(target)
    except (JobError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise JobError(
            f"{config.model}: ctranslate2 cannot convert it ({lines[0]}); use engine transformers"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _converter(config: Translate) -> Any:
    """CTranslate2's own converter, with a loader that keeps to the revision and runs no pickles."""
    import torch

    class Converter(library().converters.TransformersConverter):  # type: ignore[misc]
        def load_model(self, *_: Any, **__: Any) -> Any:
            return checkpoints.load_model(
                "AutoModelForSeq2SeqLM",
                config.model,
                revision=config.revision,
                dtype=torch.float32,
                device="cpu",
            )

        def load_tokenizer(self, *_: Any, **__: Any) -> Any:
            return load_tokenizer(config.model, config.revision)

    return Converter(str(_folder(config)))


def _folder(config: Translate) -> Path:
    """Where the checkpoint's files lie; of one of the hub, whose configuration has been read."""
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(config.model, "config.json", revision=config.revision)
    return Path(cast(str, file)).parent
