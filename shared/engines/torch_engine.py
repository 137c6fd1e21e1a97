"""PyTorch on one device: `cuda:N`, `cpu` or `mps`. Implements shared.engines.Engine.

Precision and compilation are chosen here, once, with a reason that lands in `choices`. A recipe sees only
`TorchDevice`.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from shared.contracts import Choice, not_ours
from shared.engines import LARGEST_LOGIT, State
from shared.engines.host_memory import peak_rss_bytes, reset_peak_rss
from shared.machine.device import DeviceKind, Precision

MIB = 2**20
DTYPES = {Precision.BF16: torch.bfloat16, Precision.FP32: torch.float32}
STORED_AS = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
STORED_AS |= {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.bool: "BOOL"}
STORED_AS |= {torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64"}
STORED_AS |= {torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"}
LOADED_AS = {name: dtype for dtype, name in STORED_AS.items()}
REPLAYED = ("graphs", "step")
"""ways to compile whose launches are replayed as CUDA graphs"""
OOM_PHRASES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "cannot allocate memory")


@dataclass(frozen=True)
class TorchDevice:
    """What a recipe's build() receives as `device`."""

    torch: torch.device
    dtype: torch.dtype
    """compute precision: bfloat16 or float32"""
    arch: str
    """"sm_90", "cpu" or "mps": what kernels are chosen by"""
    compiles: bool
    choices: list[Choice] = field(repr=False, compare=False)
    graphs: bool = False
    """launches of compiled functions are replayed as CUDA graphs"""
    whole_step: bool = False
    """a step is one CUDA graph, where that does what its launches do (kernels/launch_fusion/whole_step.py)"""
    attention: str = "auto"
    """backend to try first"""
    kernels: Mapping[str, str] = field(default_factory=dict)
    """{op: kernel} to use before promoted ones"""
    hardware_key: str = ""
    """what promotions are looked up by; empty: none"""
    absent: bool = False
    """an estimate's: there is no such device here, so nothing can be probed; shapes are computed, numbers are not"""

    def compile(self, fn: Callable, **options: Any) -> Callable:
        """torch.compile(fn), or `fn` itself where compilation is off."""
        if self.graphs:
            options = {"mode": "reduce-overhead", **options}
        return torch.compile(fn, **options) if self.compiles else fn

    def note(self, what: str, chosen: str, reason: str) -> None:
        """Records something chosen automatically. Repeating a note adds nothing. ValueError: see not_ours."""
        choice = not_ours(Choice(what=what, chosen=chosen, reason=reason))
        if choice not in self.choices:
            self.choices.append(choice)


class TorchEngine:
    name = "torch"
    version = torch.__version__

    def __init__(self, device: str, precision: Precision, handle: TorchDevice):
        self.device, self.precision = device, precision
        self.handle = handle
        self.choices = handle.choices
        self._kind = DeviceKind(handle.torch.type)
        self._peak_bytes = 0

    def seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def from_host(self, tokens: np.ndarray) -> torch.Tensor:
        """Two bytes a token cross the bus; the device widens them to int64."""
        if self._kind is not DeviceKind.CUDA:
            return torch.from_numpy(tokens.astype(np.int64)).to(self.handle.torch)
        # The caching host allocator keeps the pinned block until the copy has run.
        staging = torch.empty(tokens.shape, dtype=torch.uint16, pin_memory=True)
        staging.numpy()[...] = tokens
        return staging.to(self.handle.torch, non_blocking=True).to(torch.int64)

    def to_host(self, array: torch.Tensor) -> np.ndarray:
        array = array.detach()
        return (array.float() if array.is_floating_point() else array).to("cpu", copy=True).numpy()

    def copy_into(self, buffer: np.ndarray | torch.Tensor, array: torch.Tensor) -> None:
        target = torch.from_numpy(buffer) if isinstance(buffer, np.ndarray) else buffer
        target.copy_(array.detach())
        self.synchronize()

    def scalar(self, value: torch.Tensor | float) -> float:
        return float(value)

    def synchronize(self) -> None:
        if self._kind is DeviceKind.CUDA:
            torch.cuda.synchronize(self.handle.torch)
        elif self._kind is DeviceKind.MPS:
            torch.mps.synchronize()

    def snapshot(self, state: State) -> State:
        return {
            group: {name: array.detach().to("cpu", copy=True) for name, array in arrays.items()}
            for group, arrays in state.items()
        }

    def describe(self, array: torch.Tensor) -> tuple[str, tuple[int, ...]]:
        if array.dtype not in STORED_AS:
            raise ValueError(f"arrays of {array.dtype} cannot be stored")
        return STORED_AS[array.dtype], tuple(array.shape)

    def store(self, target: np.ndarray, array: torch.Tensor) -> None:
        if array.numel():
            view = torch.from_numpy(target).view(array.dtype).reshape(array.shape)
            view.copy_(array.detach(), non_blocking=True)

    def fetch(self, source: np.ndarray, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
        array = torch.empty(shape, dtype=LOADED_AS[dtype])
        if array.numel():
            array.view(-1).view(torch.uint8).numpy()[...] = source
        return array

    def pin(self, buffer: np.ndarray) -> None:
        """Registers the memory with CUDA; a copy into other memory goes through a small pinned one, some times slower.

        https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__MEMORY.html (cudaHostRegister)
        """
        if self._kind is not DeviceKind.CUDA or not buffer.size:
            return
        code = int(torch.cuda.cudart().cudaHostRegister(buffer.ctypes.data, buffer.nbytes, 0))
        if code:
            self.handle.note("shared buffer", "not pinned", f"cudaHostRegister returned error {code}")

    def load(self, path: Path) -> dict[str, torch.Tensor]:
        try:
            return load_file(path, device="cpu")
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from None

    def rng_state(self) -> dict[str, torch.Tensor]:
        state = {"cpu": torch.get_rng_state()}
        if self._kind is DeviceKind.CUDA:
            state["cuda"] = torch.cuda.get_rng_state(self.handle.torch)
        elif self._kind is DeviceKind.MPS:
            state["mps"] = torch.mps.get_rng_state()
        return state

    def set_rng_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """A state saved on another kind of device restores only what both have."""
        torch.set_rng_state(state["cpu"])
        if self._kind is DeviceKind.CUDA and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.handle.torch)
        elif self._kind is DeviceKind.MPS and "mps" in state:
            torch.mps.set_rng_state(state["mps"])

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in OOM_PHRASES)

    def peak_memory_mb(self) -> float:
        if self._kind is DeviceKind.CUDA:
            return torch.cuda.max_memory_allocated(self.handle.torch) / MIB
        if self._kind is DeviceKind.MPS:
            # Metal keeps no peak: the largest value seen at a call stands for it.
            self._peak_bytes = max(self._peak_bytes, torch.mps.driver_allocated_memory())
            return self._peak_bytes / MIB
        return peak_rss_bytes() / MIB

    def reset_peak_memory(self) -> None:
        self._peak_bytes = 0
        if self._kind is DeviceKind.CUDA:
            torch.cuda.reset_peak_memory_stats(self.handle.torch)
        elif self._kind is DeviceKind.CPU:
            reset_peak_rss()

    def matmul_flops(self) -> float:
        """Best of the products that fit in 0.1 s."""
        n = {DeviceKind.CUDA: 8192, DeviceKind.MPS: 4096, DeviceKind.CPU: 1024}[self._kind]
        # random numbers: a GPU draws less power on ones and clocks higher than it ever does in training
        a = torch.randn(n, n, device=self.handle.torch).to(self.handle.dtype)
        best_s, end = float("inf"), time.perf_counter() + 0.1
        for _ in range(1000):
            start = time.perf_counter()
            torch.mm(a, a)
            self.synchronize()
            best_s = min(best_s, time.perf_counter() - start)
            if time.perf_counter() > end:
                break
        return 2 * n**3 / best_s

    @torch.no_grad()
    def token_nats(self, logits: torch.Tensor | np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        targets_N = torch.from_numpy(np.ascontiguousarray(targets, dtype=np.int64)).reshape(-1).to(self.handle.torch)
        nats_N, mode_N = torch.empty(2, targets_N.numel(), device=self.handle.torch)
        for part, logits_CV in self._private_chunks(logits):
            # aminmax does both fifteen times slower on a CPU
            lowest_C1, highest_C1 = logits_CV.amin(-1, keepdim=True), logits_CV.amax(-1, keepdim=True)
            target_C1 = logits_CV.gather(-1, targets_N[part, None])
            mode_C1 = logits_CV.sub_(highest_C1).exp_().sum(-1, keepdim=True).log_()
            # Also true of NaN and infinities: a comparison with NaN is false.
            usable_C1 = (lowest_C1 >= -LARGEST_LOGIT) & (highest_C1 <= LARGEST_LOGIT)
            mode_N[part] = mode_C1.where(usable_C1, torch.nan).squeeze(-1)
            nats_N[part] = mode_N[part] - (target_C1 - highest_C1).squeeze(-1)
        return nats_N.reshape(targets.shape).cpu().numpy(), mode_N.reshape(targets.shape).cpu().numpy()

    def _private_chunks(self, logits: torch.Tensor | np.ndarray) -> Iterator[tuple[slice, torch.Tensor]]:
        """Copies of the logits as [C, V] float32 pieces on the device, small enough to stay in cache on a CPU.

        Each is read once: whoever shares the buffer and writes to it meanwhile changes nothing computed from a piece.
        """
        if isinstance(logits, np.ndarray):
            logits = torch.from_numpy(logits)
        logits_NV = logits.detach().reshape(-1, logits.shape[-1])
        rows = max(1, (2**20 if self._kind is DeviceKind.CPU else 2**26) // logits_NV.shape[1])
        for start in range(0, len(logits_NV), rows):
            part = slice(start, start + rows)
            yield part, logits_NV[part].to(self.handle.torch, torch.float32, copy=True)


def open_device(
    device: str,
    *,
    dtype: str = "auto",
    compile: str = "auto",
    attention: str = "auto",
    kernels: Mapping[str, str] | None = None,
    hardware_key: str = "",
) -> TorchEngine:
    """Opens the device. ValueError says what is missing and what to do."""
    place = torch.device(device)
    arch = _check_device(place)
    choices: list[Choice] = []
    precision, reason = _choose_dtype(place, dtype)
    choices.append(Choice(what="dtype", chosen=precision.long_name, reason=reason))
    compiles, reason = _choose_compile(DeviceKind(place.type), compile)
    chosen = (compile if compile in REPLAYED else "on") if compiles else "off"
    choices.append(Choice(what="compile", chosen=chosen, reason=reason))
    handle = TorchDevice(
        torch=place,
        dtype=DTYPES[precision],
        arch=arch,
        compiles=compiles,
        choices=choices,
        graphs=chosen == "graphs",
        whole_step=chosen == "step",
        attention=attention,
        kernels=kernels or {},
        hardware_key=hardware_key,
    )
    return TorchEngine(device, precision, handle)


def _check_device(place: torch.device) -> str:
    """The architecture's name, once the device has computed something."""
    if place.type == DeviceKind.CPU:
        return "cpu"
    if place.type == DeviceKind.MPS:
        if not torch.backends.mps.is_available():
            raise ValueError("device mps: this PyTorch sees no Metal GPU; it needs macOS on Apple Silicon, or use cpu")
        return "mps"
    if place.type != DeviceKind.CUDA:
        raise ValueError(f"device {place}: the torch engine runs on cuda:N, cpu or mps")
    return _check_cuda(place)


def _check_cuda(place: torch.device) -> str:
    if not torch.cuda.is_available():
        build = f"torch {torch.__version__}"
        built_without = torch.version.cuda is None
        why = "is built without CUDA: install the CUDA wheel" if built_without else "finds no driver or GPU"
        raise ValueError(f"device {place}: {build} {why}; check nvidia-smi, or use cpu")
    if (place.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {place}: only {torch.cuda.device_count()} CUDA device(s) are visible")
    torch.cuda.set_device(place)
    major, minor = torch.cuda.get_device_capability(place)
    arch = f"sm_{major}{minor}"
    try:
        torch.ones(1, device=place).add_(1).item()
    except RuntimeError as error:
        built_for = ", ".join(torch.cuda.get_arch_list())
        raise ValueError(f"device {place} ({arch}) cannot run this PyTorch (built for {built_for}): {error}") from None
    return arch


def _choose_dtype(place: torch.device, wish: str) -> tuple[Precision, str]:
    if wish in DTYPES:
        return Precision(wish), "asked for"
    if wish != "auto":
        raise ValueError(f"dtype '{wish}': choose auto, bf16 or fp32")
    native, why = _BF16_TESTS[DeviceKind(place.type)](place)
    return (Precision.BF16 if native else Precision.FP32), why


def _cuda_bf16(place: torch.device) -> tuple[bool, str]:
    major, minor = torch.cuda.get_device_capability(place)
    return (major >= 8), f"sm_{major}{minor} {'has' if major >= 8 else 'lacks'} bf16 tensor cores"


def _mps_bf16(place: torch.device) -> tuple[bool, str]:
    try:
        ones = torch.ones(8, 8, device=place, dtype=torch.bfloat16)
        return float((ones @ ones)[0, 0]) == 8.0, "a bf16 product ran on Metal"
    except (RuntimeError, TypeError) as error:
        return False, f"bf16 does not run on this Metal: {error}"


def _cpu_bf16(place: torch.device) -> tuple[bool, str]:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if getattr(torch.cpu, name, lambda: False)():
            return True, f"the CPU multiplies bf16 natively ({name.removeprefix('_is_').removesuffix('_supported')})"
    return False, "the CPU has no native bf16 products"


_BF16_TESTS = {DeviceKind.CUDA: _cuda_bf16, DeviceKind.MPS: _mps_bf16, DeviceKind.CPU: _cpu_bf16}


def _choose_compile(kind: DeviceKind, wish: str) -> tuple[bool, str]:
    if wish not in ("auto", "on", "off", *REPLAYED):
        raise ValueError(f"compile '{wish}': choose auto, on, off, graphs or step")
    if wish == "off":
        return False, "asked for"
    if wish in REPLAYED and kind is not DeviceKind.CUDA:
        raise ValueError(f"compile {wish}: CUDA graphs need a CUDA device, this is {kind}")
    if wish == "auto" and kind is not DeviceKind.CUDA:
        return False, f"eager by default on {kind}"
    missing = _missing_for_compile(kind)
    if missing and wish != "auto":
        raise ValueError(f"compile {wish}: {missing}")
    return not missing, missing or ("asked for" if wish != "auto" else "fuses the elementwise work between products")


def _missing_for_compile(kind: DeviceKind) -> str:
    """Why torch.compile cannot work here; empty when it can."""
    compilers = ("g++", "clang++") if kind is DeviceKind.CPU else ("gcc", "cc", "clang")
    variable = "CXX" if kind is DeviceKind.CPU else "CC"
    if kind is DeviceKind.CUDA and find_spec("triton") is None:
        return "torch.compile needs triton: pip install triton"
    if variable not in os.environ and not any(shutil.which(name) for name in compilers):
        return f"torch.compile needs a compiler ({' or '.join(compilers)}) on the PATH"
    return ""
