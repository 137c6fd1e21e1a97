"""Keeps the host code of compiled kernels to what every CPU of the build machine's family runs.

An object file holds the launch code too, compiled for the CPU at hand: from a machine with AVX-512 it ends a process
on one without, and the cache's key does not tell them apart. nvidia-cutlass-dsl 4.8.1 refuses its own option for
another host (--host-target) for functions of this kind, so every LLVM function is given its target before export.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

OLDEST_CPU = {"x86_64": "x86-64", "aarch64": "generic"}


@contextmanager
def for_any_cpu() -> Iterator[None]:
    """What nvidia-cutlass-dsl exports in this block runs on the oldest CPU of this machine's family."""
    from cutlass._mlir import ir
    from cutlass.cutlass_dsl import tvm_ffi_provider

    native = tvm_ffi_provider._aot_support
    target = f'["target-cpu", "{OLDEST_CPU[platform.machine()]}"], ["target-features", ""]'

    def retarget(operation) -> ir.WalkResult:
        if operation.name == "llvm.func":
            there = operation.attributes.get("passthrough", ())
            operation.attributes["passthrough"] = ir.Attribute.parse(f"[{', '.join([*map(str, there), target])}]")
        return ir.WalkResult.ADVANCE

    def export(module, **options) -> bytes:
        with module.context:
            module.operation.walk(retarget)
        return native.export_module_to_bytes(module, **options)

    tvm_ffi_provider._aot_support = SimpleNamespace(export_module_to_bytes=export)
    try:
        yield
    finally:
        tvm_ffi_provider._aot_support = native
