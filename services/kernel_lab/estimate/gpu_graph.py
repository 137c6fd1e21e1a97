"""A graph that was traced on CPU tensors, moved to a GPU that is not there.

Tracing on the GPU's own fake tensors would need a driver: autograd starts threads for the devices it finds.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch._subclasses.fake_impls import register_op_impl
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

PLACE = torch.device("cuda", 0)


def moved(module: GraphModule, inputs: Sequence[Any], mode: FakeTensorMode) -> tuple[GraphModule, list[Any]]:
    """A copy of the graph with its inputs, both on the GPU; the original stays as it is."""
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


@register_op_impl(torch.ops.aten._unsafe_masked_index_put_accumulate.default)
def _accumulated(mode: FakeTensorMode, func: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """PyTorch's own rule runs the op's Python decomposition, which a CPU build refuses for tensors of a GPU."""
    return torch.empty_like(x)
