"""Memory shared with a recipe's process on CUDA, over a runtime that only remembers what it was asked; a test marked
`gpu` does it for real."""

import ctypes

import pytest
import torch

from shared.engines import cuda_ipc

SHAPE = (2, 3, 4)


class Runtime:
    """Stands for libcudart: answers with success, or with the code in `fails`."""

    def __init__(self, **fails: int):
        self.calls, self.fails = [], fails

    def cudaMalloc(self, address, num_bytes):
        ctypes.cast(address, ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.c_void_p(4096)
        return self._note("cudaMalloc", num_bytes.value)

    def __getattr__(self, name):
        return lambda *arguments: self._note(name)

    def cudaMemset(self, address, value, num_bytes):
        return self._note("cudaMemset", address.value, value, num_bytes.value)

    class cudaGetErrorString:
        restype = None

        def __new__(cls, code):
            return b"in a test"

    def _note(self, name, *numbers):
        self.calls.append((name, *numbers))
        return self.fails.get(name, 0)


def shared_over(runtime: Runtime, monkeypatch) -> cuda_ipc.DeviceBuffer:
    monkeypatch.setattr(cuda_ipc, "_runtime", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch, "as_tensor", lambda view, device: view)
    return cuda_ipc.share("cuda:0", SHAPE)


def test_a_buffer_is_cleared_before_it_is_handed_out_and_before_it_is_given_back(monkeypatch):
    runtime = Runtime()
    buffer = shared_over(runtime, monkeypatch)
    cleared = [("cudaMemset", 4096, 0, 96), ("cudaDeviceSynchronize",)]
    assert runtime.calls == [("cudaMalloc", 96), *cleared, ("cudaIpcGetMemHandle",)]
    runtime.calls.clear()
    buffer.close()
    buffer.close()
    assert runtime.calls == [*cleared, ("cudaFree",)]


def test_memory_that_cannot_be_shared_is_given_back(monkeypatch):
    runtime = Runtime(cudaIpcGetMemHandle=801)
    with pytest.raises(RuntimeError, match="CUDA error 801: in a test"):
        shared_over(runtime, monkeypatch)
    assert runtime.calls[-1] == ("cudaFree",)


@pytest.mark.gpu
def test_nothing_is_left_of_an_earlier_buffer_on_a_gpu():
    first = cuda_ipc.share("cuda:0", (64, 1024, 1024))
    first.array.fill_(7.0)
    first.close()
    second = cuda_ipc.share("cuda:0", (64, 1024, 1024))
    assert not second.array.any()
    second.close()
