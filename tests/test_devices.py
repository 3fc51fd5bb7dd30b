from __future__ import annotations

import os
import subprocess
import sys
import weakref

import numpy as np
import pytest

from projner import devices
from projner.errors import JobError

torch = pytest.importorskip("torch")


def _cuda_error():
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def present(monkeypatch):
    def pretend(cuda: bool = False, mps: bool = False, bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)

    return pretend


@pytest.mark.parametrize(
    ("here", "asked", "expected"),
    [
        ({}, "auto", "cpu"),
        ({"mps": True}, "auto", "mps"),
        ({"cuda": True, "mps": True}, "auto", "cuda"),
        ({"cuda": True}, "cpu", "cpu"),
        ({"mps": True}, "mps", "mps"),
    ],
)
def test_choose_device(present, here, asked, expected):
    present(**here)
    assert devices.choose_device(asked) == expected


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_a_device_that_is_not_here(present, asked):
    present()
    with pytest.raises(JobError, match=f"device {asked} is not on this machine, which has cpu"):
        devices.choose_device(asked)


@pytest.mark.parametrize(
    ("bf16", "asked", "device", "expected"),
    [
        (False, "auto", "cpu", "float32"),
        (True, "auto", "cuda", "bfloat16"),
        (False, "auto", "cuda", "float16"),
        (True, "auto", "mps", "float16"),
        (True, "float32", "cuda", "float32"),
        (False, "bfloat16", "cpu", "bfloat16"),
    ],
)
def test_choose_dtype(present, bf16, asked, device, expected):
    present(cuda=True, bf16=bf16)
    assert devices.choose_dtype(asked, device) == getattr(torch, expected)


@pytest.mark.parametrize(("cpus", "threads"), [(0.25, 1), (1, 1), (2.9, 2)])
def test_use_threads(monkeypatch, cpus, threads):
    monkeypatch.setenv("RAYON_NUM_THREADS", "7")
    before = torch.get_num_threads()
    try:
        devices.use_threads(cpus)
        assert torch.get_num_threads() == threads
        assert os.environ["RAYON_NUM_THREADS"] == str(threads)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_cuda_error(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory(error, expected):
    assert devices.out_of_memory(error) == expected


def test_out_of_memory_on_the_cpu():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert devices.out_of_memory(caught.value)


@pytest.mark.parametrize("capacity", [1, 2, 3, 5, 8, 100])
def test_halving_answers_for_every_row(capacity):
    tried = []

    def run(rows):
        tried.append(len(rows))
        if len(rows) > capacity:
            raise _cuda_error()
        return rows * 10

    rows = np.array([5, 3, 8, 1, 9, 0, 2])
    done = devices.halving(run, rows)
    assert np.concatenate([part for part, _ in done]).tolist() == rows.tolist()
    assert all((answer == part * 10).all() for part, answer in done)
    assert tried[0] == len(rows)


@pytest.mark.parametrize(
    ("error", "tries"), [(_cuda_error(), [4, 2, 1]), (RuntimeError("other"), [4])]
)
def test_halving_gives_up(error, tries):
    tried = []

    def run(rows):
        tried.append(len(rows))
        raise error

    with pytest.raises(RuntimeError) as caught:
        devices.halving(run, np.arange(4))
    assert caught.value is error
    assert tried == tries


def test_halving_lets_the_failed_batch_go_before_it_tries_again():
    held = []

    def run(rows):
        assert not any(reference() is not None for reference in held)
        activations = torch.zeros(len(rows))
        held.append(weakref.ref(activations))
        if len(rows) > 1:
            raise _cuda_error()
        return float(activations.sum())

    assert len(devices.halving(run, np.arange(4))) == 4


def test_nothing_needs_torch_to_be_imported():
    code = (
        "import sys; sys.modules.update(torch=None, transformers=None, tokenizers=None);"
        "import projner.batching, projner.checkpoints, projner.devices, projner.label"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
