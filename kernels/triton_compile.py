"""Compiles what a function would launch for a GPU that is not there: every Triton kernel, as it is called.

    with compiled_for("sm_90") as kernels:
        function(*tensors_on_the_cpu)
    for kernel in kernels: print(kernel.name, kernel.shared_bytes)

Nothing is launched and tensors that kernels should have written hold nothing. Types, alignments and constants are
those of the call. TRITON_INTERPRET must not be set. Patches Triton 3.7's launch; other versions were not tried.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

SHARED_BYTES = {"sm_80": 163 << 10, "sm_89": 99 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10, "sm_120": 99 << 10}
"""a block's at most: CUDA C++ Programming Guide, table of compute capabilities"""


@dataclass(frozen=True)
class Compiled:
    name: str
    shared_bytes: int
    num_warps: int
    registers: int
    """of a thread"""
    stack_bytes: int
    """of a thread, in device memory: what registers did not hold"""


@contextmanager
def compiled_for(arch: str) -> Iterator[list[Compiled]]:
    """Collects the kernels that calls inside the block compile. Whatever the compiler raises rises."""
    found: list[Compiled] = []
    launch, driver = JITFunction.run, triton.runtime.driver._active

    def compile_only(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = launch(self, *args, grid=grid, warmup=True, **kwargs)
        found.append(_described(kernel))
        return kernel

    triton.runtime.driver.set_active(_absent(int(arch.removeprefix("sm_"))))
    JITFunction.run = compile_only
    try:
        yield found
    finally:
        JITFunction.run = launch
        triton.runtime.driver._active = driver  # None where there is no device


def _described(kernel: Any) -> Compiled:
    meta = kernel.metadata
    return Compiled(meta.name, meta.shared, meta.num_warps, *_resources(kernel.asm["cubin"]))


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack and local memory, as cuobjdump reads them; Triton's Linux wheels bring it along."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True)
    used = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", done.stdout))
    return int(used["REG"]), int(used["STACK"]) + int(used["LOCAL"])


def _absent(capability: int) -> Any:
    """A driver of a device that is not there; only what compiling asks for."""

    class AbsentDriver:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", capability, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 0

        def get_active_torch_device(self) -> torch.device:
            return torch.device("cpu")

    return AbsentDriver()
