"""The graph of a function of MLX, as primitives with shapes, without computing anything.

MLX's CPU build unfolds what Metal has kernels of its own for (`mx.fast.rms_norm`, `mx.fast.rope`) and cannot export
`mx.custom_function`. While `stand_ins()` is entered, each is replaced by primitives that nothing else uses and whose
derivative has the same form, so that they can be told in the graph and counted as what they stand for.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import mlx.core as mx

STAND_IN_AXES = {"RMSNorm": -1, "RoPE": -2}
"""an exclusive cumulative sum along this axis stands for the kernel; the reverse one for its derivative"""
JOINED = (1,) * 9
"""the shape in which a loss and the term that carries its gradients are added: see CountedFunction"""


@dataclass(frozen=True)
class Array:
    """Known by its name in the export."""

    label: str
    shape: tuple[int, ...]
    itemsize: int

    @property
    def size(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True)
class Node:
    name: str
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed."""

    nodes: tuple[Node, ...]
    outputs: frozenset[str]


def trace(function: Callable[..., list[mx.array]], *arguments: mx.array) -> Graph:
    """Shared subexpressions are one, as mx.compile makes them; nothing is fused."""
    entries: list[dict[str, Any]] = []
    mx.export_function(entries.append, function, *arguments)
    outputs = next(entry["outputs"] for entry in entries if entry["type"] == "outputs")
    nodes = tuple(_node(entry) for entry in entries if entry["type"] == "primitive")
    return _reachable(_without_carriers(nodes, frozenset(label for label, *_ in outputs)))


def _node(entry: dict[str, Any]) -> Node:
    inputs, outputs = ([Array(name, tuple(shape), dtype.size) for name, shape, dtype in entry[key]]
                       for key in ("inputs", "outputs"))  # fmt: skip
    node = Node(entry["name"], tuple(inputs), tuple(outputs), tuple(entry["arguments"]))
    return replace(node, name=stood_for(node)) if node.name == "Scan" else node


def stood_for(scan: Node) -> str:
    _, axis, reverse, inclusive = scan.arguments[:4]
    names = {axis % len(scan.outputs[0].shape): name for name, axis in reversed(STAND_IN_AXES.items())}
    if inclusive or axis not in names:
        return scan.name
    return names[axis] + ("VJP" if reverse else "")


def _without_carriers(nodes: tuple[Node, ...], outputs: frozenset[str]) -> Graph:
    """A loss that carries its gradients is the loss again."""
    losses: dict[str, Array] = {}
    kept = []
    for node in nodes:
        node = replace(node, inputs=tuple(losses.get(one.label, one) for one in node.inputs))
        if node.name == "Add" and node.outputs[0].shape == JOINED:
            losses[node.outputs[0].label] = node.inputs[0]
        else:
            kept.append(node)
    return Graph(tuple(kept), frozenset(losses[label].label if label in losses else label for label in outputs))


def _reachable(graph: Graph) -> Graph:
    needed, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if needed & {one.label for one in node.outputs}:
            needed |= {one.label for one in node.inputs}
            kept.append(node)
    return Graph(tuple(reversed(kept)), graph.outputs)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Modules that use mx.custom_function have to be imported inside."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(mx.fast, "rms_norm", _rms_norm))
        stack.enter_context(patch.object(mx.fast, "rope", _rope))
        stack.enter_context(patch.object(mx, "custom_function", CountedFunction))
        yield


def _rms_norm(x: mx.array, weight: mx.array | None = None, eps: float = 0.0, **_: Any) -> mx.array:
    normed = mx.cumsum(x, axis=STAND_IN_AXES["RMSNorm"], inclusive=False)
    return normed if weight is None else normed * weight


def _rope(x: mx.array, dims: int = 0, **_: Any) -> mx.array:
    return mx.cumsum(x, axis=STAND_IN_AXES["RoPE"], inclusive=False)


class CountedFunction:
    """mx.custom_function for a function whose first result is a loss: its own vjp at a factor of 1 is traced with it.

    Autodiff multiplies these gradients with the factor, as the vjp would, because they stand in a term that is added
    to the loss; the term itself is taken out of the graph by the shape of that addition.
    """

    def __init__(self, function: Callable):
        self.function = function
        self.gradient: Callable | None = None

    def vjp(self, gradient: Callable) -> Callable:
        self.gradient = gradient
        return gradient

    def __call__(self, *primals: mx.array) -> Any:
        if self.gradient is None:
            return self.function(*primals)
        fixed = [mx.stop_gradient(x) for x in primals]
        found = self.function(*fixed)
        outputs = list(found) if isinstance(found, list | tuple) else [found]
        if outputs[0].ndim:
            raise ValueError("mx.custom_function with a derivative can be counted of a loss only, which is one number")
        factors = [mx.ones_like(outputs[0]), *map(mx.zeros_like, outputs[1:])]
        cotangents = factors if isinstance(found, list | tuple) else factors[0]
        loss = outputs[0].reshape(JOINED)
        for x, gradient in zip(primals, self.gradient(fixed, cotangents, found), strict=True):
            if mx.issubdtype(x.dtype, mx.floating) and x.ndim:
                loss = loss + (mx.stop_gradient(gradient) * x).sum().astype(loss.dtype).reshape(JOINED)
        outputs[0] = loss.reshape(())
        return type(found)(outputs) if isinstance(found, list | tuple) else outputs[0]
