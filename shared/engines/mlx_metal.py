"""What MLX does on Metal besides computing: memory limits, and whether an M5's neural accelerators are used.

Imported on every machine, called only where there is Metal; what decides is in functions of plain values.
"""

import ctypes
import mmap
import os
import platform
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import mlx.core as mx

from shared.contracts import Choice
from shared.machine.device import Precision

CACHE_SHARE = 0.25  # of the working set: freed buffers MLX keeps for reuse instead of growing to the limit
FIRST_MACOS = (26, 2)
METAL = "/System/Library/Frameworks/Metal.framework/Metal"
CORE_FOUNDATION = "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation"
UTF8 = 0x08000100  # kCFStringEncodingUTF8
NAX_KERNEL = b"steel_gemm_fused_nax"
COMPILER_TIMEOUT_S = 120.0


def prepare(precision: Precision) -> list[Choice]:
    """Sets the limits and says what was found."""
    check_compiler()
    info = mx.device_info()
    accelerators = neural_accelerators(str(info["architecture"]), platform.mac_ver()[0], metallib())
    choices = [set_limits(int(info["max_recommended_working_set_size"])), accelerators]
    if precision is Precision.FP32 and accelerators.chosen == "on":
        choices.append(full_float32())
    return choices


def use_private_cache() -> Choice:
    """Metal keeps compiled kernels in a folder of the user's, which the sandbox closes: a recipe could leave something
    there for the next one, or for the evaluator. Inside the sandbox they go to the process's own, before Metal opens.

    MTLSetShaderCachePath is what WebKit calls for the same reason; Apple documents neither it nor the usual folder.
    """
    own = os.environ.get("XDG_CACHE_HOME")  # the sandbox's: shared/sandbox/processes.py
    if not own:
        return Choice(what="shader cache", chosen="the user's", reason="this process is not in a sandbox")
    folder = Path(own) / "metal"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        set_path = ctypes.CDLL(METAL).MTLSetShaderCachePath
        set_path.argtypes, set_path.restype = [ctypes.c_void_p], None
        set_path(_foundation_string(str(folder)))
    except (OSError, AttributeError) as error:
        return Choice(what="shader cache", chosen="none", reason=f"it cannot be moved into the sandbox: {error}"[:300])
    return Choice(what="shader cache", chosen="private", reason="kernels are compiled anew in every process")


def _foundation_string(text: str) -> int:
    """A CFString, which is an NSString too; never released."""
    foundation = ctypes.CDLL(CORE_FOUNDATION)
    create = foundation.CFStringCreateWithCString
    create.argtypes, create.restype = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32], ctypes.c_void_p
    return create(None, text.encode(), UTF8)


def check_compiler(timeout_s: float = COMPILER_TIMEOUT_S) -> None:
    """Compiles and runs a kernel that no cache can hold. ValueError when that fails: it is not the recipe's fault.

    In a thread, because Metal was seen to wait for ever for a cache that a sandbox closes.
    """
    answers: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=lambda: answers.put(_compile_a_kernel()), name="canary", daemon=True).start()
    try:
        what = answers.get(timeout=timeout_s)
    except Empty:
        what = f"no kernel after {timeout_s:g} s"
    if what:
        advice = "ARE_SANDBOX=off tells whether the sandbox is why; docs/validation/mac.md says how to read its log"
        raise ValueError(f"Metal's compiler does not work in the sandbox: {what}. {advice}")


def _compile_a_kernel() -> str:
    """What went wrong; empty when it ran and added up."""
    number = secrets.randbelow(2**20)
    source = f"uint i = thread_position_in_grid.x; y[i] = x[i] + {number};"
    shape: dict[str, Any] = {"grid": (8, 1, 1), "threadgroup": (8, 1, 1), "output_shapes": [(8,)]}
    try:
        make: Callable[..., Callable[..., list[mx.array]]] = mx.fast.metal_kernel  # type: ignore[assignment]
        kernel = make(name=f"canary_{number}", input_names=["x"], output_names=["y"], source=source)
        x = mx.arange(8, dtype=mx.float32)
        (y,) = kernel(inputs=[x], output_dtypes=[mx.float32], **shape)
        return "" if mx.array_equal(y, x + number) else "a kernel of one addition has a wrong result"
    except (RuntimeError, ValueError) as error:
        return " ".join(str(error).split())[:200]


def set_limits(working_set_bytes: int) -> Choice:
    """Above what the driver recommends a Mac swaps, and a swapping run measures the disk."""
    mx.set_memory_limit(working_set_bytes)
    mx.set_cache_limit(int(CACHE_SHARE * working_set_bytes))
    mx.set_wired_limit(working_set_bytes)
    gib = working_set_bytes / 2**30
    chosen = f"{gib:.1f} GiB, {CACHE_SHARE * gib:.1f} of it cache"
    return Choice(what="memory limit", chosen=chosen, reason="the device's recommended working set")


def full_float32() -> Choice:
    """The accelerators round float32 factors to 11 bits (TF32); MLX reads the variable at its first product."""
    kept = os.environ.setdefault("MLX_ENABLE_TF32", "0")
    exact = kept == "0"
    reason = "fp32 means fp32: products do not run on the neural accelerators" if exact else "MLX_ENABLE_TF32 is set"
    return Choice(what="fp32 products", chosen="fp32" if exact else "tf32", reason=reason)


def metallib() -> Path:
    """MLX's compiled kernels; `mlx` is a namespace package, so the extension says where it lies."""
    return Path(mx.__file__).parent / "lib" / "mlx.metallib"


def neural_accelerators(architecture: str, macos: str, kernels: Path) -> Choice:
    """on, off (the chip has them, this macOS or build cannot use them) or none. Several times bf16's speed."""

    def choice(chosen: str, reason: str) -> Choice:
        return Choice(what="neural accelerators", chosen=chosen, reason=reason)

    if not has_accelerators(architecture):
        return choice("none", f"{architecture} has none; an M5 has")
    if version(macos) < FIRST_MACOS:
        return choice("off", f"WARNING: this chip has them but macOS {macos} cannot use them: update to 26.2")
    if not kernels.is_file():
        return choice("unknown", f"{kernels.name} is not beside this MLX, which compiles its kernels when they run")
    if not contains(kernels, NAX_KERNEL):
        wheel = "pip install --force-reinstall mlx on this macOS takes the wheel that can"
        return choice("off", f"WARNING: this chip has them but this MLX was built without their kernels: {wheel}")
    return choice("on", f"{architecture}, macOS {macos}, kernels found")


def contains(file: Path, wanted: bytes) -> bool:
    """Without reading 200 MB into memory: pages come from the file as they are looked at."""
    if file.stat().st_size == 0:  # an empty file cannot be mapped
        return False
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(wanted) >= 0


def has_accelerators(architecture: str) -> bool:
    """Apple GPU generation 17 (M5), 18 among phones' (suffix p): as MLX decides."""
    generation = int("".join(filter(str.isdigit, architecture)) or 0)
    return generation >= (18 if architecture.endswith("p") else 17)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
