"""A graph that was traced on CPU tensors, moved to a GPU that is not there.

Tracing on the GPU's own fake tensors would need a driver: autograd starts threads for the devices it finds.
"""

import copy
import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

PLACE = torch.device("cuda", 0)


def moved(module: GraphModule, inputs: Sequence[Any], mode: FakeTensorMode) -> tuple[GraphModule, list[Any]]:
    """A copy of the graph with its inputs, both on the GPU; the original stays as it is."""
    let_pass()
    module = copy.deepcopy(module)
    for node in module.graph.nodes:
        node.args = torch.fx.node.map_aggregate(node.args, _place)
        node.kwargs = torch.fx.node.map_aggregate(node.kwargs, _place)
        node.meta.pop("val", None)
    module.recompile()
    with mode:
        inputs = [_twin(value) for value in inputs]
        with torch.no_grad():
            FakeTensorProp(module, mode).propagate_dont_convert_inputs(*inputs)
    return module, inputs


def _place(value: Any) -> Any:
    return PLACE if isinstance(value, torch.device) else value


def _twin(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=PLACE)


def let_pass() -> None:
    """A CPU build of PyTorch has no guard that switches between CUDA devices, and refuses operators of Python on them.
    The CPU's guard, which switches nothing, stands in for it; a CUDA build has its own."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * (CUDA + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    if guards[CUDA] is None:
        guards[CUDA] = guards[CPU]


CPU, CUDA = 0, 1
"""in that table: torch/headeronly/core/DeviceType.h"""
