"""Answers for a GPU that is not there, as long as Inductor asks: PyTorch's queries of CUDA and Triton's driver.

A CPU build of PyTorch is enough. Only a process that computes nothing may use this: whatever would start a kernel
finds no device.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import triton
from torch._dynamo import device_interface
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.hints import DeviceProperties
from torch.utils import _triton
from triton.backends.compiler import GPUTarget

from shared.machine.gpus import Gpu

REGISTERS = 65536
"""of a multiprocessor, on every architecture from 8.0 to 12.1"""


@contextmanager
def pretending(gpu: Gpu) -> Iterator[None]:
    """Inside, PyTorch believes in one device of this kind; afterwards in what is really there."""
    interface = device_interface.get_interface_for_device("cuda")
    answers = _answers(gpu)
    properties = staticmethod(answers["get_device_properties"])
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(patch.object(torch.cuda, name, answer, create=True))
        for name in ("device_count", "current_device", "get_device_properties", "current_stream", "synchronize"):
            stack.enter_context(patch.object(interface, name, staticmethod(answers[name])))
        stack.enter_context(patch.object(interface.Worker, "get_device_properties", properties))
        stack.enter_context(patch.object(torch.accelerator, "is_available", lambda: False))
        stack.enter_context(patch.object(triton_helpers, "set_driver_to_gpu", lambda: None))
        stack.enter_context(_driver(gpu))
        _forget()
        stack.callback(_forget)
        yield


def _answers(gpu: Gpu) -> dict[str, Any]:
    properties = _properties(gpu)
    values = {
        "is_available": True, "is_initialized": True, "device_count": 1, "current_device": 0,
        "get_device_properties": properties, "get_device_capability": gpu.capability,
        "get_device_name": gpu.hardware_key,
        "current_stream": SimpleNamespace(cuda_stream=0), "_lazy_init": None, "synchronize": None,
        "get_rng_state": torch.get_rng_state(),
        "set_rng_state": None, "is_current_stream_capturing": False, "_exchange_device": 0,
        "_maybe_exchange_device": 0,
    }  # fmt: skip
    answers: dict[str, Any] = {name: _always(value) for name, value in values.items()}
    return answers | {"device": lambda *_, **__: nullcontext()}


def _always(value: Any) -> Any:
    return lambda *_, **__: value


def _properties(gpu: Gpu) -> SimpleNamespace:
    major, minor = gpu.capability
    return SimpleNamespace(
        major=major,
        minor=minor,
        name=gpu.hardware_key,
        gcnArchName="",
        multi_processor_count=gpu.multiprocessors,
        max_threads_per_multi_processor=gpu.threads_per_multiprocessor,
        max_threads_per_block=1024,
        regs_per_multiprocessor=REGISTERS,
        warp_size=32,
        total_memory=gpu.memory_bytes,
        shared_memory_per_block=48 * 1024,
        shared_memory_per_block_optin=gpu.shared_memory_bytes,
        shared_memory_per_multiprocessor=gpu.shared_memory_bytes + 1024,
        L2_cache_size=gpu.l2_bytes,
    )


@contextmanager
def _driver(gpu: Gpu) -> Iterator[None]:
    before = triton.runtime.driver._active
    triton.runtime.driver.set_active(_absent_driver(gpu))
    try:
        yield
    finally:
        triton.runtime.driver._active = before


def _absent_driver(gpu: Gpu) -> Any:
    major, minor = gpu.capability
    answers = {
        "get_current_target": GPUTarget("cuda", 10 * major + minor, 32),
        "get_current_device": 0,
        "get_current_stream": 0,
        "set_current_device": None,
        "get_active_torch_device": torch.device("cuda", 0),
        "get_device_interface": torch.cuda,
        "is_active": True,
    }
    utils = SimpleNamespace(get_device_properties=_always({"max_shared_mem": gpu.shared_memory_bytes}))
    return SimpleNamespace(
        **{name: _always(value) for name, value in answers.items()}, launcher_cls=object, utils=utils
    )


def _forget() -> None:
    """What PyTorch remembers of devices it asked about before."""
    DeviceProperties.create.cache_clear()
    _triton.has_triton.cache_clear()
    device_interface.caching_worker_device_properties.pop("cuda", None)
