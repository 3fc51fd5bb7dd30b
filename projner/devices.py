"""What a model runs on: device, precision, threads, and what to do when its memory is full.

Torch is imported when a function is called, so that this module costs nothing without it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from projner.errors import JobError

if TYPE_CHECKING:
    import torch

    from projner.config import Encoder, Label

Device = Literal["auto", "cuda", "mps", "cpu"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Result = TypeVar("Result")
Modelled = TypeVar("Modelled", "Label", "Encoder")

log = logging.getLogger(__name__)


def choose_device(asked: Device = "auto") -> str:
    """The device that was asked for; `auto`: the first of cuda, mps and cpu that is here.

    Raises JobError for one that is not here.
    """
    import torch

    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if asked == "auto":
        return next(name for name, present in here.items() if present)
    if not here[asked]:
        present = ", ".join(name for name, present in here.items() if present)
        raise JobError(f"device {asked} is not on this machine, which has {present}; use auto")
    return asked


def choose_dtype(asked: Precision, device: str) -> torch.dtype:
    """The precision that was asked for; `auto`: the fastest that is sane on `device`.

    That is bfloat16 on a GPU that computes in it, float16 on other GPUs, and float32 on a CPU.
    """
    import torch

    if asked != "auto":
        return {
            "float32": torch.float32,
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
        }[asked]
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if computes_in_bfloat16(device) else torch.float16


def computes_in_bfloat16(device: str) -> bool:
    """Whether a device has instructions for bfloat16, rather than emulating it slowly."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


def resolve(section: Modelled) -> Modelled:
    """A section of the job file with this machine's precision in place of `auto`.

    The device stays as it is: results do not depend on it, and an actor takes the one that it is
    given.

    Raises JobError for a device that is not here.
    """
    chosen = choose_dtype(section.dtype, choose_device(section.device))
    return section.model_copy(update={"dtype": str(chosen).removeprefix("torch.")})


def use_threads(cpus: float) -> None:
    """Let torch and the tokenizers of this process use `cpus` CPUs, at least one.

    Call it before the first tokenizer works: the size of their thread pool is settled then.
    """
    import torch

    threads = max(1, int(cpus))
    torch.set_num_threads(threads)
    os.environ["RAYON_NUM_THREADS"] = str(threads)


def send(array: np.ndarray, device: str) -> torch.Tensor:
    """An array on a device."""
    import torch

    tensor = torch.from_numpy(array)
    if device == "cuda":
        # From pinned memory the copy does not wait for what the GPU is computing.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, the device's or the CPU's, is full."""
    signs = ("out of memory", "DefaultCPUAllocator: can't allocate memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
    )


def halving(
    run: Callable[[np.ndarray], Result], rows: np.ndarray
) -> list[tuple[np.ndarray, Result]]:
    """`run(rows)`, or, where memory is too small for it, that of its halves: pairs (rows, result).

    Raises what `run` raised if it is another error, or if a single row is too large.
    """
    try:
        return [(rows, run(rows))]
    except Exception as error:
        if len(rows) < 2 or not out_of_memory(error):
            raise
        log.warning("%d rows do not fit in memory; trying halves: %s", len(rows), _brief(error))
    # Not in the handler, because the exception keeps the tensors of the failed run alive.
    free_cached_memory()
    middle = len(rows) // 2
    return halving(run, rows[:middle]) + halving(run, rows[middle:])


def free_cached_memory() -> None:
    """Give the memory that torch, where it is in use, keeps for later back to the device."""
    if "torch" not in sys.modules:
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _brief(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
