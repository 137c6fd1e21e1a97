"""The MLX adapter: the contract, and what only MLX has: its laziness, threads, Metal's limits and accelerators."""

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")

from shared import engines  # noqa: E402
from shared.engines import mlx_engine, mlx_metal, open_engine  # noqa: E402
from tests.shared.engines.engine_contract import EngineContract, choice  # noqa: E402


class TestMlxEngine(EngineContract):
    name = "mlx"
    array = staticmethod(lambda values: mx.array(np.array(values)))
    bf16 = staticmethod(lambda array: array.astype(mx.bfloat16))
    uniform = staticmethod(lambda: mx.random.uniform(shape=(4,)))


@pytest.fixture
def engine():
    return open_engine("mlx", "cpu")


def test_a_cpu_computes_in_float32_unless_asked(engine):
    assert engine.handle.dtype == mx.float32
    assert open_engine("mlx", "cpu", dtype="bf16").handle.dtype == mx.bfloat16


def test_compile_without_a_compiler_is_an_error_when_asked_for(monkeypatch):
    monkeypatch.setattr(mlx_engine.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"compile on: .* g\+\+, which is not on the PATH"):
        open_engine("mlx", "cpu", compile="on")


def test_a_machine_without_mlx_is_told_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'mlx'", name="mlx")

    monkeypatch.setattr(engines, "import_module", missing)
    with pytest.raises(ValueError, match=r"engine mlx is not installed here: pip install -e '\.\[mlx\]'"):
        open_engine("mlx", "cpu")


@pytest.mark.skipif(mx.metal.is_available(), reason="this machine has Metal")
def test_metal_that_is_not_there_says_what_to_do():
    with pytest.raises(ValueError, match=r"device metal: .* needs macOS on Apple silicon, or use cpu"):
        open_engine("mlx", "metal")


def test_a_snapshot_does_not_follow_later_changes(engine):
    live = mx.ones(3)
    snapshot = engine.snapshot({"model": {"w": live}})
    live += 1
    live[0] = 9
    assert snapshot["model"]["w"].tolist() == [1, 1, 1]


def test_random_state_of_another_engine_is_refused(engine):
    with pytest.raises(ValueError, match="another engine: cpu"):
        engine.set_rng_state({"cpu": mx.zeros(3)})


@pytest.mark.parametrize(
    "message",
    [
        "[malloc] Unable to allocate 8589934592 bytes.",
        "[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum allowed buffer size of 8",
        "[METAL] Command buffer execution failed: Insufficient Memory (kIOGPUCommandBufferCallbackErrorOutOfMemory)",
    ],
)
def test_running_out_of_memory_is_recognized(engine, message):
    assert engine.is_out_of_memory(RuntimeError(message))


@pytest.fixture
def kernels(tmp_path):
    path = tmp_path / "mlx.metallib"
    path.write_bytes(b"MTLB steel_gemm_fused_nax_nt_bfloat16")
    return path


@pytest.mark.parametrize(
    ("architecture", "macos", "chosen"),
    [
        ("applegpu_g17g", "26.2", "on"),
        ("applegpu_g17s", "26.10.1", "on"),
        ("applegpu_g17g", "26.1", "off"),
        ("applegpu_g17g", "15.7", "off"),
        ("applegpu_g16s", "26.2", "none"),
        ("applegpu_g17p", "26.2", "none"),
    ],
)
def test_neural_accelerators_need_an_m5_and_its_macos(kernels, architecture, macos, chosen):
    assert mlx_metal.neural_accelerators(architecture, macos, kernels).chosen == chosen


def test_a_build_without_accelerator_kernels_is_warned_of(kernels):
    kernels.write_bytes(b"MTLB steel_gemm_fused_nt_bfloat16")
    found = mlx_metal.neural_accelerators("applegpu_g17g", "26.2", kernels)
    assert found.chosen == "off"
    assert found.reason.startswith("WARNING: this chip has them but this MLX was built without their kernels")


def test_kernels_that_cannot_be_looked_at_are_no_yes(tmp_path):
    found = mlx_metal.neural_accelerators("applegpu_g17g", "26.2", tmp_path / "mlx.metallib")
    assert found.chosen == "unknown"


def test_an_old_macos_is_named_with_the_one_that_is_needed(kernels):
    reason = mlx_metal.neural_accelerators("applegpu_g17g", "26.1", kernels).reason
    assert reason == "WARNING: this chip has them but macOS 26.1 cannot use them: update to 26.2"


@pytest.mark.parametrize(("given", "chosen"), [(None, "fp32"), ("1", "tf32")])
def test_fp32_is_exact_unless_somebody_wants_tf32(monkeypatch, given, chosen):
    monkeypatch.delenv("MLX_ENABLE_TF32", raising=False)
    if given:
        monkeypatch.setenv("MLX_ENABLE_TF32", given)
    assert mlx_metal.full_float32().chosen == chosen


def test_limits_come_from_the_device(monkeypatch):
    limits = {}
    for name in ("set_memory_limit", "set_cache_limit", "set_wired_limit"):
        monkeypatch.setattr(mlx_metal.mx, name, lambda value, name=name: limits.setdefault(name, value))
    found = mlx_metal.set_limits(24 * 2**30)
    assert limits == {
        "set_memory_limit": 24 * 2**30,
        "set_cache_limit": 6 * 2**30,
        "set_wired_limit": 24 * 2**30,
    }
    assert found.chosen == "24.0 GiB, 6.0 of it cache"


@pytest.mark.metal
def test_metal_opens_with_limits_and_says_what_its_accelerators_do():
    engine = open_engine("mlx", "metal")
    assert engine.handle.dtype == mx.bfloat16
    assert engine.handle.compiles
    assert choice(engine, "neural accelerators").chosen in ("on", "off", "none", "unknown")
    assert choice(engine, "memory limit").reason == "the device's recommended working set"
    assert engine.matmul_flops() > 5e11
    assert engine.peak_memory_mb() > 0


def works(inputs, **shapes):
    return [inputs[0] + 7]


def is_refused(inputs, **shapes):
    raise RuntimeError("[metal::Device] Unable to load kernel\n from cache")


def waits(inputs, **shapes):
    threading.Event().wait(5)
    return [inputs[0]]


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (works, ""),
        (is_refused, "Unable to load kernel from cache. ARE_SANDBOX=off tells"),
        (waits, "no kernel after 0.2 s"),
        (lambda inputs, **shapes: inputs, "wrong result"),
    ],
)
def test_a_compiler_that_refuses_or_never_answers_is_not_the_recipes_fault(monkeypatch, kernel, said):
    monkeypatch.setattr(mlx_metal.secrets, "randbelow", lambda limit: 7)
    monkeypatch.setattr(mlx_metal.mx.fast, "metal_kernel", lambda **source: kernel)
    with pytest.raises(ValueError, match=said) if said else nullcontext():
        mlx_metal.check_compiler(timeout_s=0.2 if kernel is waits else 20)


def test_in_a_sandbox_kernels_are_kept_in_the_processs_own_cache(monkeypatch, tmp_path):
    """Two libraries of macOS, in which a string is its own address."""
    paths: list[str] = []
    library = SimpleNamespace(
        MTLSetShaderCachePath=lambda path: paths.append(path),
        CFStringCreateWithCString=lambda allocator, text, encoding: text.decode(),
    )
    monkeypatch.setattr(mlx_metal.ctypes, "CDLL", lambda name: library)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert mlx_metal.use_private_cache().chosen == "the user's"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert mlx_metal.use_private_cache().chosen == "private"
    assert paths == [str(tmp_path / "metal")]
    assert (tmp_path / "metal").is_dir()


def test_a_macos_that_cannot_move_the_cache_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(mlx_metal.ctypes, "CDLL", lambda name: SimpleNamespace())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert mlx_metal.use_private_cache().chosen == "none"
