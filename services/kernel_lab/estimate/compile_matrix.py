"""Every Triton kernel that Inductor wrote, compiled to machine code for the architecture it was written for.

Triton brings NVIDIA's assembler, so no GPU and no CUDA is needed. Inductor's own configurations are tried in order; a
kernel counts as compiled with the first that works and fits into the shared memory of a block.
"""

import logging
import re
from typing import Any

from torch._inductor import config
from torch._inductor.codecache import PyCodeCache

from services.kernel_lab.estimate.absent_gpu import pretending
from services.kernel_lab.estimate.compiler import AbsentCompiler
from shared.kernel_lab.estimate import Compiled
from shared.machine.gpus import Gpu

_KERNEL = re.compile(r"async_compile\.triton\('(\w+)', '''\n?(.*?)'''", re.DOTALL)
_NAME = re.compile(r"\btriton_\w+?_(\d+)\b")


def compile_all(compiler: AbsentCompiler) -> tuple[Compiled, ...]:
    """Kernels of the same text are compiled once."""
    sources = {
        _without_number(text): (name, text)
        for _, lowered, _ in compiler.lowered
        for name, text in _KERNEL.findall(lowered.source)
    }
    logging.getLogger("torch._inductor.runtime.triton_heuristics").setLevel(logging.CRITICAL)
    with pretending(compiler.gpu), config.patch(use_static_triton_launcher=False):
        return tuple(compile_one(name, text, compiler.gpu) for name, text in sources.values())


def _without_number(text: str) -> str:
    return _NAME.sub("triton", text)


def compile_one(name: str, source: str, gpu: Gpu) -> Compiled:
    kernel = getattr(PyCodeCache.load(source), name)
    why = "no configuration"
    for one in kernel.configs:
        try:
            result = kernel._precompile_config(one)
            shared = _binary(result).metadata.shared
        except Exception as error:  # whatever a compiler raises is the answer for this configuration
            why = f"{type(error).__name__}: {error}"
            continue
        if shared <= gpu.shared_memory_bytes:
            return Compiled(kernel=name, architecture=gpu.architecture)
        why = f"needs {shared} bytes of shared memory, {gpu.architecture} has {gpu.shared_memory_bytes}"
    return Compiled(kernel=name, architecture=gpu.architecture, error=why)


def _binary(result: Any) -> Any:
    return getattr(result, "kernel", result)
