"""What a custom op costs on a GPU, told beside the op, for `autoresearch lab estimate`, which runs no kernel.

    @op_cost("autoresearch::fused_mlp")
    def _cost(x_NC, w_up, w_down):
        return OpCost(bytes=..., flops=...)

An op that registers none moves every array it takes or returns once, multiplies nothing and starts one kernel.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class OpCost:
    bytes: int
    """read and written in device memory, each array once"""
    flops: int = 0
    """of products: 2 m n k"""
    launches: int = 1
    """kernels started"""


CostFunction = Callable[..., OpCost]

_COSTS: dict[str, CostFunction] = {}


def op_cost(name: str) -> Callable[[CostFunction], CostFunction]:
    """Registers the cost of `namespace::op`. The function is called with the op's own arguments; tensors have a shape,
    a dtype and strides, and no values."""

    def register(function: CostFunction) -> CostFunction:
        _COSTS[name] = function
        return function

    return register


def has_cost(name: str) -> bool:
    return name in _COSTS


def cost_of_op(name: str, arguments: tuple[Any, ...], named: dict[str, Any], outputs: Iterable[Any]) -> OpCost:
    """What the op says of itself, else its arrays once."""
    if name in _COSTS:
        return _COSTS[name](*arguments, **named)
    return OpCost(bytes=bytes_of([*arguments, *named.values(), *outputs]))


def bytes_of(values: Iterable[Any]) -> int:
    """Of all tensors in there, in lists too; dimensions of stride 0 are stored once."""
    total = 0
    for value in values:
        if isinstance(value, torch.Tensor):
            total += stored_bytes(value)
        elif isinstance(value, list | tuple):
            total += bytes_of(value)
    return total


def stored_bytes(tensor: torch.Tensor) -> int:
    count = tensor.element_size()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or size == 0 else 1
    return count
