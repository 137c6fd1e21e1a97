"""What MLX does on Metal besides computing: memory limits, and whether an M5's neural accelerators are used.

Imported on every machine, called only where there is Metal; what decides is in functions of plain values.
"""

import os
import platform
from pathlib import Path

import mlx.core as mx

from shared.contracts import Choice
from shared.machine.device import Precision

CACHE_SHARE = 0.25  # of the working set: freed buffers MLX keeps for reuse instead of growing to the limit
FIRST_MACOS = (26, 2)
NAX_KERNEL = b"steel_gemm_fused_nax"


def prepare(precision: Precision) -> list[Choice]:
    """Sets the limits and says what was found."""
    info = mx.device_info()
    accelerators = neural_accelerators(str(info["architecture"]), platform.mac_ver()[0], metallib())
    choices = [set_limits(int(info["max_recommended_working_set_size"])), accelerators]
    if precision is Precision.FP32 and accelerators.chosen == "on":
        choices.append(full_float32())
    return choices


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
    if NAX_KERNEL not in kernels.read_bytes():
        wheel = "pip install --force-reinstall mlx on this macOS takes the wheel that can"
        return choice("off", f"WARNING: this chip has them but this MLX was built without their kernels: {wheel}")
    return choice("on", f"{architecture}, macOS {macos}, kernels found")


def has_accelerators(architecture: str) -> bool:
    """Apple GPU generation 17 (M5), 18 among phones' (suffix p): as MLX decides."""
    generation = int("".join(filter(str.isdigit, architecture)) or 0)
    return generation >= (18 if architecture.endswith("p") else 17)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
