"""Memory that a trusted process owns and a recipe's process writes: host memory for any engine, or device memory.

The owner creates it, the recipe's process maps it and writes, nothing else is shared. On Linux the host's is sealed:
it can neither shrink nor grow, so reading it cannot fault. What is computed with was first copied out, so nobody can
change it afterwards. On CUDA both processes map the same device allocation (shared/engines/cuda_ipc.py).
"""

import fcntl
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_F_ADD_SEALS = getattr(fcntl, "F_ADD_SEALS", 1033)
_SEAL_SEAL, _SEAL_SHRINK, _SEAL_GROW = 1, 2, 4
_LARGEST_READ = 1 << 30
SEALED = hasattr(os, "memfd_create")
"""whether memory is sealed here, so that its owner may read it as it is mapped: no other process can cut it short"""


@dataclass(frozen=True)
class HostBuffer:
    """An unnamed file of fixed size, mapped by two processes; its pages are taken when first written."""

    descriptor: int
    num_bytes: int

    @classmethod
    def create(cls, num_bytes: int) -> "HostBuffer":
        descriptor = _unnamed_file()
        os.truncate(descriptor, num_bytes)
        if SEALED:
            fcntl.fcntl(descriptor, _F_ADD_SEALS, _SEAL_SEAL | _SEAL_SHRINK | _SEAL_GROW)
        return cls(descriptor, num_bytes)

    def mapped(self) -> np.ndarray:
        """uint8 [num_bytes], the very memory: to write into. ValueError when the file is smaller than it should be."""
        if os.fstat(self.descriptor).st_size < self.num_bytes:
            raise ValueError(f"the shared buffer has {os.fstat(self.descriptor).st_size} bytes, not {self.num_bytes}")
        if not self.num_bytes:
            return np.empty(0, np.uint8)
        with os.fdopen(os.dup(self.descriptor), "r+b") as file:
            return np.memmap(file, dtype=np.uint8, mode="r+", shape=(self.num_bytes,))

    def read_into(self, target: memoryview, offset: int = 0) -> None:
        """Fills `target` with a copy from `offset` on. ValueError when the file ends before."""
        done = 0
        while done < len(target):
            step = os.preadv(self.descriptor, [target[done : done + _LARGEST_READ]], offset + done)
            if step <= 0:
                raise ValueError("the shared buffer was cut short by the process that writes it")
            done += step

    def close(self) -> None:
        os.close(self.descriptor)


def _unnamed_file() -> int:
    if SEALED:
        return os.memfd_create("buffer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
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
    close: Callable[[], None]
    """Gives the memory back, without what the recipe's process left in it; may be called twice, `array` is void then"""
