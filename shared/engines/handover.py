"""Where a recipe's process leaves its logits for the evaluator: host memory any engine can write, or device memory.

The evaluator allocates, the recipe's process opens and writes, nothing else is shared. On CUDA both map the
same device allocation (shared/engines/cuda_ipc.py), so logits never cross the bus.
"""

import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class HostBuffer:
    """An unnamed file mapped by two processes; its pages are taken when first written."""

    descriptor: int
    array: np.ndarray

    @classmethod
    def create(cls, shape: tuple[int, ...], dtype: type) -> "HostBuffer":
        descriptor = _unnamed_file()
        os.truncate(descriptor, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return cls.open(descriptor, shape, dtype)

    @classmethod
    def open(cls, descriptor: int, shape: tuple[int, ...], dtype: type) -> "HostBuffer":
        with os.fdopen(os.dup(descriptor), "r+b") as file:
            array = np.memmap(file, dtype=dtype, mode="r+", shape=shape)
        return cls(descriptor, array)

    def close(self) -> None:
        os.close(self.descriptor)


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("handover")
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor


@dataclass(frozen=True)
class DeviceBuffer:
    """Device memory of the evaluator that a recipe's process may map."""

    ticket: dict[str, Any]
    """what the other process opens it with; plain JSON"""
    array: Any
    """[B, T, V] float32 of the framework"""


def share_on_device(device: str, shape: tuple[int, ...]) -> tuple[DeviceBuffer | None, str]:
    """A buffer on the device, or None and the reason why the host's memory is used."""
    if not device.startswith("cuda"):
        return None, f"{device} works in host memory"
    from shared.engines import cuda_ipc

    try:
        return cuda_ipc.share(device, shape), ""
    except (OSError, RuntimeError) as error:
        return None, f"CUDA memory cannot be shared: {error}"
