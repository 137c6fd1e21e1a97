"""CUDA memory shared by two processes, through the runtime library PyTorch has loaded.

Plain cudaMalloc and cudaIpc handles: PyTorch's own sharing needs a reference count in /dev/shm, which a
sandboxed recipe must not be able to write. Needs a GPU: tests are marked `gpu`.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch

from shared.engines.shared_buffer import DeviceBuffer

_HANDLE_BYTES = 64
_LAZY_PEER_ACCESS = 1


class _Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_char * _HANDLE_BYTES),)


class _View:
    """float32 device memory by its address, for torch.as_tensor."""

    def __init__(self, address: int, shape: tuple[int, ...]):
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "<f4",
            "data": (address, False),
            "version": 3,
        }


def share_on_device(device: str, shape: tuple[int, ...]) -> tuple[DeviceBuffer | None, str]:
    """A buffer on the device, or None and the reason why the host's memory is used."""
    try:
        return share(device, shape), ""
    except (OSError, RuntimeError) as error:
        return None, f"CUDA memory cannot be shared: {error}"


class _Memory:
    """Cleared when it is made and before it is freed. CUDA clears what comes from another process, not what this one
    had before: the process that audits would find in its buffer what the one that was scored left in the last."""

    def __init__(self, runtime: ctypes.CDLL, num_bytes: int):
        self.runtime, self.num_bytes, self.address = runtime, num_bytes, ctypes.c_void_p()
        _check(runtime, runtime.cudaMalloc(ctypes.byref(self.address), ctypes.c_size_t(num_bytes)))
        self._clear()

    def close(self) -> None:
        if self.address.value:
            self._clear()
            _check(self.runtime, self.runtime.cudaFree(self.address))
            self.address.value = None

    def _clear(self) -> None:
        _check(self.runtime, self.runtime.cudaMemset(self.address, 0, ctypes.c_size_t(self.num_bytes)))
        _check(self.runtime, self.runtime.cudaDeviceSynchronize())


def share(device: str, shape: tuple[int, ...]) -> DeviceBuffer:
    """Allocates zeros on the device until they are closed. RuntimeError with CUDA's message when it cannot."""
    torch.cuda.set_device(device)
    runtime, handle = _runtime(), _Handle()
    memory = _Memory(runtime, 4 * torch.Size(shape).numel())
    try:
        _check(runtime, runtime.cudaIpcGetMemHandle(ctypes.byref(handle), memory.address))
    except RuntimeError:
        memory.close()
        raise
    ticket = {"device": device, "shape": list(shape), "handle": bytes(memoryview(handle)).hex()}
    array = torch.as_tensor(_View(memory.address.value or 0, shape), device=device)
    return DeviceBuffer(ticket, array, memory.close)


def open_shared(ticket: dict[str, Any]) -> torch.Tensor:
    """The other process's buffer as a float32 tensor. RuntimeError with CUDA's message when it cannot be mapped."""
    torch.cuda.set_device(ticket["device"])
    runtime = _runtime()
    address = ctypes.c_void_p()
    handle = _Handle.from_buffer_copy(bytes.fromhex(ticket["handle"]))
    runtime.cudaIpcOpenMemHandle.argtypes = (ctypes.POINTER(ctypes.c_void_p), _Handle, ctypes.c_uint)
    _check(runtime, runtime.cudaIpcOpenMemHandle(ctypes.byref(address), handle, _LAZY_PEER_ACCESS))
    return torch.as_tensor(_View(address.value or 0, tuple(ticket["shape"])), device=ticket["device"])


def _runtime() -> ctypes.CDLL:
    """The very library PyTorch uses: a second copy would have a context of its own."""
    torch.cuda.init()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    paths = {line.split()[-1] for line in maps.splitlines() if "libcudart" in line}
    if not paths:
        raise RuntimeError("no libcudart is loaded in this process")
    return ctypes.CDLL(paths.pop())


def _check(runtime: ctypes.CDLL, code: int) -> None:
    if code:
        runtime.cudaGetErrorString.restype = ctypes.c_char_p
        raise RuntimeError(f"CUDA error {code}: {runtime.cudaGetErrorString(code).decode()}")
