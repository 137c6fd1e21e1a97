"""MLX on one device: `metal` on Apple silicon, `cpu` anywhere. Implements shared.engines.Engine.

Precision, compilation and memory limits are chosen here, once, with reasons that land in `choices`. A recipe sees
only `MlxDevice`. What only a Mac can show: docs/validation/mac.md.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.engines.openblas import BLAS  # before mlx

# isort: split
import mlx.core as mx
import numpy as np

from shared.contracts import Choice, not_ours
from shared.engines import LARGEST_LOGIT, State, mlx_metal
from shared.engines.host_memory import peak_rss_bytes, reset_peak_rss
from shared.machine.device import DeviceKind, Precision

MIB = 2**20
DTYPES = {Precision.BF16: mx.bfloat16, Precision.FP32: mx.float32}
STORED_AS = {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16", mx.bool_: "BOOL"}
STORED_AS |= {mx.int64: "I64", mx.int32: "I32", mx.int16: "I16", mx.int8: "I8"}
STORED_AS |= {mx.uint64: "U64", mx.uint32: "U32", mx.uint16: "U16", mx.uint8: "U8"}
LOADED_AS = {name: dtype for dtype, name in STORED_AS.items()}
OOM_PHRASES = ("unable to allocate", "maximum allowed buffer size", "insufficient memory", "outofmemory")


@dataclass(frozen=True)
class MlxDevice:
    """What a recipe's build() receives as `device`."""

    mlx: mx.Device
    dtype: mx.Dtype
    """compute precision: bfloat16 or float32"""
    arch: str
    """"metal" or "cpu": what kernels are chosen by"""
    compiles: bool
    choices: list[Choice] = field(repr=False, compare=False)
    attention: str = "auto"
    """backend to try first"""
    kernels: Mapping[str, str] = field(default_factory=dict)
    """{op: kernel} to use before promoted ones"""
    hardware_key: str = ""
    """what promotions are looked up by; empty: none"""

    def compile(self, fn: Callable, **options: Any) -> Callable:
        """mx.compile(fn), or `fn` itself where compilation is off. Name arrays that change in inputs and outputs."""
        return mx.compile(fn, **options) if self.compiles else fn

    def note(self, what: str, chosen: str, reason: str) -> None:
        """Records something chosen automatically. Repeating a note adds nothing. ValueError: see not_ours."""
        choice = not_ours(Choice(what=what, chosen=chosen, reason=reason))
        if choice not in self.choices:
            self.choices.append(choice)


class MlxEngine:
    name = "mlx"
    version = mx.__version__

    def __init__(self, device: str, precision: Precision, handle: MlxDevice):
        self.device, self.precision = device, precision
        self._kind = DeviceKind(device)
        self.handle = handle
        self.choices = handle.choices

    def seed(self, seed: int) -> None:
        mx.random.seed(seed)

    def from_host(self, tokens: np.ndarray) -> mx.array:
        """Two bytes a token are copied; the device widens them."""
        return mx.array(tokens).astype(mx.int32)

    def to_host(self, array: mx.array) -> np.ndarray:
        if mx.issubdtype(array.dtype, mx.floating):
            array = array.astype(mx.float32)
        return np.array(array)

    def copy_into(self, buffer: np.ndarray, array: mx.array) -> None:
        buffer[...] = np.asarray(array.astype(mx.float32))

    def scalar(self, value: mx.array | float) -> float:
        return float(value)

    def synchronize(self) -> None:
        mx.synchronize()

    def snapshot(self, state: State) -> State:
        """Nothing is copied: MLX never writes into the memory of an array somebody holds."""
        held = {
            group: {name: mx.contiguous(array) for name, array in arrays.items()} for group, arrays in state.items()
        }
        mx.eval(held)
        return held

    def describe(self, array: mx.array) -> tuple[str, tuple[int, ...]]:
        if array.dtype not in STORED_AS:
            raise ValueError(f"arrays of {array.dtype} cannot be stored")
        return STORED_AS[array.dtype], tuple(array.shape)

    def store(self, target: np.ndarray, array: mx.array) -> None:
        """numpy knows no bfloat16: its bits travel as integers."""
        if array.size:
            bits = np.asarray(mx.contiguous(array).view(mx.uint16) if array.dtype == mx.bfloat16 else array)
            target.view(bits.dtype).reshape(bits.shape)[...] = bits

    def fetch(self, source: np.ndarray, dtype: str, shape: tuple[int, ...]) -> mx.array:
        return (
            mx.array(source).view(LOADED_AS[dtype]).reshape(shape) if source.size else mx.zeros(shape, LOADED_AS[dtype])
        )

    def pin(self, buffer: np.ndarray) -> None:
        """Nothing to do: the memory is one for processor and GPU."""

    def load(self, path: Path) -> dict[str, mx.array]:
        try:
            arrays = mx.load(str(path), format="safetensors")
            mx.eval(arrays)  # reading is lazy
        except RuntimeError as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from None
        return arrays

    def rng_state(self) -> dict[str, mx.array]:
        key = mx.array(mx.random.state[0])
        mx.eval(key)  # a thread that saves it could not: MLX computes an array only in the thread that made it
        return {"mlx": key}

    def set_rng_state(self, state: Mapping[str, mx.array]) -> None:
        """MLX's generator is its key, two words; seed() of both together sets it."""
        if "mlx" not in state:
            raise ValueError(f"random state of another engine: {', '.join(state)}")
        high, low = state["mlx"].tolist()
        mx.random.seed(high << 32 | low)

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError):
            return True
        return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in OOM_PHRASES)

    def peak_memory_mb(self) -> float:
        return (mx.get_peak_memory() if self._kind is DeviceKind.METAL else peak_rss_bytes()) / MIB

    def reset_peak_memory(self) -> None:
        mx.reset_peak_memory()
        if self._kind is DeviceKind.CPU:
            reset_peak_rss()

    def matmul_flops(self) -> float:
        """Best of the products that fit in 0.1 s, after one that warms up."""
        n = {DeviceKind.METAL: 4096, DeviceKind.CPU: 512}[self._kind]
        a = mx.ones((n, n), dtype=self.handle.dtype)
        mx.eval(a @ a)
        best_s, end = float("inf"), time.perf_counter() + 0.1
        for _ in range(1000):
            start = time.perf_counter()
            mx.eval(a @ a)
            best_s = min(best_s, time.perf_counter() - start)
            if time.perf_counter() > end:
                break
        return 2 * n**3 / best_s

    def token_nats(self, logits: mx.array | np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        targets_N = mx.array(np.ascontiguousarray(targets, dtype=np.int32).reshape(-1))
        nats_N, mode_N = np.empty((2, targets_N.size), dtype=np.float32)
        for part, logits_CV in self._private_chunks(logits):
            highest_C1 = logits_CV.max(axis=-1, keepdims=True)
            target_C1 = mx.take_along_axis(logits_CV, targets_N[part, None], axis=-1)
            mode_C1 = mx.log(mx.exp(logits_CV - highest_C1).sum(axis=-1, keepdims=True))
            # Also true of NaN and infinities: a comparison with NaN is false.
            usable_C1 = (mx.abs(logits_CV) <= LARGEST_LOGIT).all(axis=-1, keepdims=True)
            mode_C1 = mx.where(usable_C1, mode_C1, mx.nan)
            mode_N[part] = np.asarray(mode_C1[:, 0])
            nats_N[part] = np.asarray((mode_C1 - (target_C1 - highest_C1))[:, 0])
        return nats_N.reshape(targets.shape), mode_N.reshape(targets.shape)

    def _private_chunks(self, logits: mx.array | np.ndarray) -> Iterator[tuple[slice, mx.array]]:
        """Copies of the logits as [C, V] float32 pieces, small enough to stay in cache on a CPU.

        Each is read once: whoever shares the buffer and writes to it meanwhile changes nothing computed from a piece.
        """
        logits_NV = logits.reshape(-1, logits.shape[-1])
        rows = max(1, (2**20 if self._kind is DeviceKind.CPU else 2**26) // logits_NV.shape[1])
        for start in range(0, len(logits_NV), rows):
            part = slice(start, start + rows)
            yield part, mx.array(logits_NV[part]).astype(mx.float32)  # mx.array copies at once


def open_device(
    device: str,
    *,
    dtype: str = "auto",
    compile: str = "auto",
    attention: str = "auto",
    kernels: Mapping[str, str] | None = None,
    hardware_key: str = "",
) -> MlxEngine:
    """Opens the device. ValueError says what is missing and what to do."""
    choices = [mlx_metal.use_private_cache()] if device == DeviceKind.METAL else []  # before Metal is touched
    place = _check_device(device)
    kind = DeviceKind(device)
    mx.set_default_device(place)
    precision, reason = _choose_dtype(kind, dtype)
    choices.append(Choice(what="dtype", chosen=precision.long_name, reason=reason))
    compiles, reason = _choose_compile(kind, compile)
    choices.append(Choice(what="compile", chosen="on" if compiles else "off", reason=reason))
    choices += mlx_metal.prepare(precision) if kind is DeviceKind.METAL else [BLAS]
    asked = kernels or {}
    handle = MlxDevice(place, DTYPES[precision], device, compiles, choices, attention, asked, hardware_key)
    return MlxEngine(device, precision, handle)


def _check_device(device: str) -> mx.Device:
    if device not in (DeviceKind.METAL, DeviceKind.CPU):
        raise ValueError(f"device {device}: the mlx engine runs on metal or cpu")
    if device == DeviceKind.CPU:
        return mx.Device(mx.cpu)
    if not mx.metal.is_available():
        raise ValueError("device metal: this MLX sees no Metal GPU; it needs macOS on Apple silicon, or use cpu")
    return mx.Device(mx.gpu)


def _choose_dtype(kind: DeviceKind, wish: str) -> tuple[Precision, str]:
    if wish in DTYPES:
        return Precision(wish), "asked for"
    if wish != "auto":
        raise ValueError(f"dtype '{wish}': choose auto, bf16 or fp32")
    if kind is DeviceKind.METAL:
        return Precision.BF16, "Metal computes bf16"
    return Precision.FP32, "MLX's CPU back end has no fast bf16 products"


def _choose_compile(kind: DeviceKind, wish: str) -> tuple[bool, str]:
    if wish not in ("auto", "on", "off"):
        raise ValueError(f"compile '{wish}': the mlx engine knows auto, on and off")
    if wish == "off":
        return False, "asked for"
    if kind is DeviceKind.METAL:
        return True, "asked for" if wish == "on" else "fuses the elementwise work between products"
    if wish == "auto":
        return False, "eager by default on cpu"
    if shutil.which("g++") is None:
        raise ValueError("compile on: MLX's CPU back end compiles with g++, which is not on the PATH")
    return True, "asked for"
