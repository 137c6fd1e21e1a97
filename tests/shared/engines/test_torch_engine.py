"""The torch adapter: choices with reasons, exact copies, its own errors."""

import numpy as np
import pytest
import torch

from shared.engines import open_engine, torch_engine


@pytest.fixture
def engine():
    return open_engine("torch", "cpu")


def choice(engine, what):
    return next(choice for choice in engine.choices if choice.what == what)


def test_precision_and_compilation_are_chosen_with_a_reason(engine):
    assert choice(engine, "dtype").chosen in ("bfloat16", "float32")
    assert "bf16" in choice(engine, "dtype").reason
    assert choice(engine, "compile").chosen == "off"


def test_a_cpu_without_bf16_products_computes_in_float32(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    engine = open_engine("torch", "cpu")
    assert engine.handle.dtype is torch.float32
    assert choice(engine, "dtype").reason == "the CPU has no native bf16 products"


def test_what_is_asked_for_is_what_is_used():
    engine = open_engine("torch", "cpu", dtype="fp32", compile="off")
    assert engine.handle.dtype is torch.float32
    assert not engine.handle.compiles
    assert {choice.reason for choice in engine.choices} == {"asked for"}


def test_compile_without_a_compiler_is_an_error_when_asked_for(monkeypatch):
    monkeypatch.setattr(torch_engine.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"compile on: torch.compile needs a compiler \(g\+\+ or clang\+\+\)"):
        open_engine("torch", "cpu", compile="on")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_not_there_says_what_to_do():
    with pytest.raises(ValueError, match=r"device cuda:0: torch .* (install the CUDA wheel|finds no driver)"):
        open_engine("torch", "cuda:0")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dtype": "fp16"}, "dtype 'fp16'"), ({"compile": "yes"}, "compile 'yes'"), ({"device": "meta"}, "device meta")],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        open_engine("torch", **({"device": "cpu"} | options))


def test_a_note_is_kept_once(engine):
    before = len(engine.choices)
    engine.handle.note("attention_backend", "sdpa", "why")
    engine.handle.note("attention_backend", "sdpa", "why")
    assert len(engine.choices) == before + 1


def test_tokens_arrive_whole(engine):
    tokens = np.array([[0, 8191], [65535, 32768]], dtype=np.uint16)
    tokens.setflags(write=False)
    assert engine.to_host(engine.from_host(tokens)).tolist() == tokens.tolist()


def test_a_snapshot_does_not_follow_later_changes(engine):
    live = torch.ones(3)
    snapshot = engine.snapshot({"model": {"w": live}})
    live.zero_()
    assert snapshot["model"]["w"].tolist() == [1, 1, 1]


def test_arrays_survive_a_file_bit_for_bit(engine, tmp_path):
    arrays = {
        "bf16": torch.randn(4, 3, dtype=torch.bfloat16),
        "strided": torch.randn(4, 6)[:, ::2],
        "step": torch.tensor(7),
        **engine.rng_state(),
    }
    engine.save(tmp_path / "a.safetensors", arrays)
    loaded = engine.load(tmp_path / "a.safetensors")
    assert loaded.keys() == arrays.keys()
    assert all(torch.equal(loaded[name], arrays[name]) for name in arrays)


def test_a_cut_file_is_a_value_error(engine, tmp_path):
    path = tmp_path / "a.safetensors"
    engine.save(path, {"w": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.safetensors is not a readable safetensors file"):
        engine.load(path)


def test_random_numbers_continue_from_a_saved_state(engine):
    engine.seed(5)
    state = engine.rng_state()
    first = torch.rand(4)
    engine.set_rng_state(state)
    assert torch.equal(first, torch.rand(4))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 8 bytes"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory of what happened"), False),
    ],
)
def test_running_out_of_memory_is_recognized(engine, error, expected):
    assert engine.is_out_of_memory(error) is expected


def test_a_real_failed_allocation_is_recognized(engine):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert engine.is_out_of_memory(caught.value)


def test_peak_memory_follows_what_is_held(engine):
    engine.reset_peak_memory()
    before = engine.peak_memory_mb()
    held = torch.ones(64 * 2**20 // 4)
    assert engine.peak_memory_mb() >= before + 0.9 * 64 * held.numel() / (64 * 2**20 // 4)


def test_matmul_speed_is_measured_in_under_a_second(engine):
    assert engine.matmul_flops() > 1e8


@pytest.mark.parametrize("as_numpy", [True, False])
def test_nats_are_the_cross_entropy(engine, as_numpy):
    logits = 10 * torch.randn(2, 5, 37)
    targets = np.random.default_rng(0).integers(0, 37, (2, 5))
    expected = -logits.double().log_softmax(-1).gather(-1, torch.from_numpy(targets)[..., None])[..., 0]
    nats, lse = engine.token_nats(logits.numpy() if as_numpy else logits, targets)
    assert nats.dtype == lse.dtype == np.float32
    np.testing.assert_allclose(nats, expected, atol=1e-5)
    np.testing.assert_allclose(lse, logits.double().logsumexp(-1), atol=1e-5)


def test_nats_do_not_depend_on_the_chunking(engine):
    logits, targets = torch.randn(1, 300, 8192), np.zeros((1, 300), dtype=np.int64)
    whole = engine.token_nats(logits, targets)[0]
    row_by_row = [engine.token_nats(logits[:, i : i + 1], targets[:, i : i + 1])[0] for i in range(0, 300, 37)]
    assert [nats.item() for nats in row_by_row] == whole[0, ::37].tolist()


def test_logits_are_copied_into_the_buffer_of_another(engine):
    buffer, logits = np.zeros((2, 3, 4), dtype=np.float32), torch.randn(2, 3, 4, dtype=torch.bfloat16)
    engine.copy_into(buffer, logits)
    assert np.array_equal(buffer, logits.float().numpy())


@pytest.mark.gpu
def test_cuda_copies_are_exact():
    engine = open_engine("torch", "cuda:0")
    tokens = np.random.default_rng(0).integers(0, 2**16, (64, 2049), dtype=np.uint16)
    for _ in range(20):
        assert np.array_equal(engine.to_host(engine.from_host(tokens)), tokens)
    assert engine.peak_memory_mb() > 0
    assert engine.matmul_flops() > 1e12
