"""The torch adapter: the contract, and what only PyTorch has: devices, compilers, its own errors."""

import numpy as np
import pytest
import torch

from shared.engines import open_engine, torch_engine
from tests.shared.engines.engine_contract import EngineContract, choice


class TestTorchEngine(EngineContract):
    name = "torch"
    array = staticmethod(lambda values: torch.from_numpy(np.array(values)))
    bf16 = staticmethod(torch.Tensor.bfloat16)
    uniform = staticmethod(lambda: torch.rand(4))


@pytest.fixture
def engine():
    return open_engine("torch", "cpu")


def test_a_cpu_without_bf16_products_computes_in_float32(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    engine = open_engine("torch", "cpu")
    assert engine.handle.dtype is torch.float32
    assert choice(engine, "dtype").reason == "the CPU has no native bf16 products"


def test_compile_without_a_compiler_is_an_error_when_asked_for(monkeypatch):
    monkeypatch.setattr(torch_engine.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"compile on: torch.compile needs a compiler \(g\+\+ or clang\+\+\)"):
        open_engine("torch", "cpu", compile="on")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_not_there_says_what_to_do():
    with pytest.raises(ValueError, match=r"device cuda:0: torch .* (install the CUDA wheel|finds no driver)"):
        open_engine("torch", "cuda:0")


def test_a_snapshot_does_not_follow_later_changes(engine):
    live = torch.ones(3)
    snapshot = engine.snapshot({"model": {"w": live}})
    live.zero_()
    assert snapshot["model"]["w"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_running_out_of_memory_is_recognized(engine, error):
    assert engine.is_out_of_memory(error)


def test_a_real_failed_allocation_is_recognized(engine):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert engine.is_out_of_memory(caught.value)


@pytest.mark.gpu
def test_cuda_copies_are_exact():
    engine = open_engine("torch", "cuda:0")
    tokens = np.random.default_rng(0).integers(0, 2**16, (64, 2049), dtype=np.uint16)
    for _ in range(20):
        assert np.array_equal(engine.to_host(engine.from_host(tokens)), tokens)
    assert engine.peak_memory_mb() > 0
    assert engine.matmul_flops() > 1e12
