"""Kernels that Metal starts for a graph of MLX, and the bytes each reads and writes.

By MLX 0.32's own mlx/backend/metal: which primitives only look at memory in another way, which copy, and which take
two kernels. Views are followed by their strides, so that a copy is counted where a view is not enough.
"""

from collections.abc import Callable, Iterable
from math import ceil, prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from kernels.op_cost import OpCost
from services.kernel_lab.estimate.mlx_fusion import ELEMENTWISE, FUSED
from services.kernel_lab.estimate.mlx_trace import Array, Graph, Node

PRODUCTS = {"Matmul", "AddMM"}
NO_KERNEL = {"Copy", "StopGradient", "Depends", "CustomTransforms", "View", "AsStrided", "Load", "NumberOfElements"}
RESHAPES = {"Reshape", "Flatten", "Unflatten", "ExpandDims", "Squeeze"}
VIEWS = {*RESHAPES, "Broadcast", "BroadcastAxes", "Transpose", "Slice", "Split"}
NORMS = {"RMSNorm", "RMSNormVJP", "Softmax", "LogSumExp"}
"""need rows whose numbers lie beside each other"""
ONE_PASS_NUMBERS = 4096
"""of an array that is reduced to one number by a single kernel"""
FLOAT32 = 4


class Layout:
    """How each array lies in memory, as views of one byte that nobody reads: strides are counted in numbers."""

    def __init__(self, graph: Graph):
        self.views: dict[str, np.ndarray] = {}
        self.roots: dict[str, str] = {}
        """the array whose memory another looks at"""
        self.costs = [self._add(node) for node in graph.nodes]

    def _add(self, node: Node) -> OpCost:
        if node.name in NO_KERNEL:
            for source, result in zip(node.inputs, node.outputs, strict=False):
                self._look(result, source, self.view(source))
            return NOTHING
        if node.name in VIEWS:
            return self._view(node)
        for result in node.outputs:
            self.views[result.label] = self._fresh(node, result)
        return cost_of(node, self)

    def view(self, one: Array) -> np.ndarray:
        return self.views.setdefault(one.label, contiguous(one.shape))

    def root(self, label: str) -> str:
        return self.roots.get(label, label)

    def stored(self, one: Array) -> int:
        """Bytes that somebody who reads all of it fetches."""
        view = self.view(one)
        return one.itemsize * prod(n for n, stride in zip(view.shape, view.strides, strict=True) if stride or not n)

    def _view(self, node: Node) -> OpCost:
        (source, *_), total = node.inputs, NOTHING
        for result, view in zip(node.outputs, seen(node, self.view(source)), strict=True):
            if view is None:
                self.views[result.label] = contiguous(result.shape)
                total = OpCost(self.stored(source) + bytes_of([result]), 0, 1)
            else:
                self._look(result, source, view)
        return total

    def _look(self, result: Array, source: Array, view: np.ndarray) -> None:
        self.views[result.label] = view
        self.roots[result.label] = self.root(source.label)

    def _fresh(self, node: Node, result: Array) -> np.ndarray:
        """Elementwise results lie as their inputs do, where these are dense and agree."""
        alike = [self.view(one) for one in node.inputs if one.shape == result.shape]
        agree = bool(alike) and all(view.strides == alike[0].strides for view in alike)
        if is_elementwise(node) and agree and is_dense(alike[0]):
            return alike[0]
        return contiguous(result.shape)


NOTHING = OpCost(0, 0, 0)


def contiguous(shape: tuple[int, ...]) -> np.ndarray:
    return strided(shape, [prod(shape[axis + 1 :]) for axis in range(len(shape))])


def strided(shape: tuple[int, ...], strides: Iterable[int]) -> np.ndarray:
    return as_strided(np.zeros(1, np.uint8), shape, tuple(strides), writeable=False)


def seen(node: Node, view: np.ndarray) -> list[np.ndarray | None]:
    """Of each result: the same memory looked at another way; None where it has to be copied."""
    shape, arguments = node.outputs[0].shape, node.arguments
    if node.name == "Transpose":
        return [view.transpose(arguments[0])]
    if node.name == "Slice":
        start, stop, step = arguments[:3]
        return [view[tuple(map(slice, start, _stops(stop, step), step))]]
    if node.name == "Split":
        indices, axis = arguments[:2]
        return list(np.split(view, list(indices), axis))
    if node.name in ("Broadcast", "BroadcastAxes"):
        return [np.broadcast_to(view, shape)]
    try:
        return [np.reshape(view, shape, copy=False)]
    except ValueError:
        return [None]


def _stops(stop: Iterable[int], step: Iterable[int]) -> list[int | None]:
    return [None if one < 0 and by < 0 else one for one, by in zip(stop, step, strict=True)]


def is_elementwise(node: Node) -> bool:
    return node.name in ELEMENTWISE or node.name.startswith(FUSED)


def is_dense(view: np.ndarray) -> bool:
    """Its numbers fill one piece of memory, in whatever order of axes."""
    expected = 1
    for stride, length in sorted((s, n) for s, n in zip(view.strides, view.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= length
    return True


def cost_of(node: Node, layout: Layout) -> OpCost:
    if node.name in PRODUCTS:
        return _product(node, layout)
    if rule := RULES.get(node.name):
        return rule(node, layout)
    return OpCost(sum(map(layout.stored, node.inputs)) + bytes_of(node.outputs))


def _product(node: Node, layout: Layout) -> OpCost:
    """With copies of factors that lie neither by rows nor by columns, and the second kernel of a divided sum."""
    a, out = node.inputs[0], node.outputs[0]
    copied = [one for one in node.inputs[:2] if 1 not in layout.view(one).strides[-2:] and one.size > 1]
    moved = sum(map(layout.stored, node.inputs)) + bytes_of(node.outputs)
    moved += sum(layout.stored(one) + bytes_of([one]) for one in copied)
    parts = partitions(node)
    if parts > 1:
        moved += 2 * FLOAT32 * parts * out.size
    return OpCost(moved, 2 * out.size * a.shape[-1], 1 + len(copied) + (parts > 1))


def partitions(node: Node) -> int:
    """Of the summed dimension, on a chip with neural accelerators (M5): mlx/backend/metal/matmul.cpp."""
    (*_, rows, depth), columns = node.inputs[0].shape, node.outputs[0].shape[-1]
    longest = max(rows, columns)
    if len(node.outputs[0].shape) > 2 and prod(node.outputs[0].shape[:-2]) > 1:
        return 1
    if not (depth >= 3 * longest or (longest <= 1024 and depth > 2 * longest)):
        return 1
    size = depth // 2 if depth <= 1024 else 1024 if depth <= 2048 else 2048 if depth <= 4096 else 4096
    return ceil(depth / max(1, size))


def _gather(node: Node, layout: Layout) -> OpCost:
    """Of the table only the rows that are asked for, and never more than the whole."""
    table, *places = node.inputs
    written = bytes_of(node.outputs)
    return OpCost(sum(map(layout.stored, places)) + min(written, layout.stored(table)) + written)


def _scatter(node: Node, layout: Layout) -> OpCost:
    """A copy of the whole, then a kernel that reads the changes and updates their places, never more than the whole."""
    base, *rest = node.inputs
    whole = bytes_of(node.outputs)
    changed = min(bytes_of(rest[-1:]), whole)
    return OpCost(layout.stored(base) + whole + sum(map(layout.stored, rest)) + 2 * changed, 0, 2)


def _joined(node: Node, layout: Layout) -> OpCost:
    return OpCost(sum(map(layout.stored, node.inputs)) + bytes_of(node.outputs), 0, len(node.inputs))


def _padded(node: Node, layout: Layout) -> OpCost:
    return OpCost(bytes_of(node.outputs) + layout.stored(node.inputs[0]) + bytes_of(node.inputs[:1]), 0, 2)


def _reduced(node: Node, layout: Layout) -> OpCost:
    moved = sum(map(layout.stored, node.inputs)) + bytes_of(node.outputs)
    whole = node.outputs[0].size == 1 and node.inputs[0].size > ONE_PASS_NUMBERS
    return OpCost(moved, 0, 2 if whole else 1)


def _by_rows(node: Node, layout: Layout) -> OpCost:
    """Inputs and results once; the gradient of a norm reads its input, too, which the stand-in has not."""
    read = node.inputs[:1] * (2 if node.name == "RMSNormVJP" else 1)
    copied = [one for one in node.inputs[:1] if layout.view(one).ndim and layout.view(one).strides[-1] != 1]
    moved = sum(map(layout.stored, read)) + bytes_of(node.outputs)
    return OpCost(moved + sum(layout.stored(one) + bytes_of([one]) for one in copied), 0, 1 + len(copied))


Rule = Callable[[Node, Layout], OpCost]
RULES: dict[str, Rule] = {
    **dict.fromkeys(("Gather", "GatherAxis"), _gather),
    **dict.fromkeys(("Scatter", "ScatterAxis", "SliceUpdate"), _scatter),
    **dict.fromkeys(NORMS, _by_rows),
    "Concatenate": _joined,
    "Pad": _padded,
    "Reduce": _reduced,
}


def bytes_of(arrays: Iterable[Array]) -> int:
    return sum(one.size * one.itemsize for one in arrays)


def peak_bytes(graph: Graph, layout: Layout) -> int:
    """Most memory alive at a time, in the order of the graph, without what was there before it."""
    last: dict[str, int] = {}
    for at, node in enumerate(graph.nodes):
        last |= {layout.root(one.label): at for one in node.inputs}
    last |= {layout.root(label): len(graph.nodes) for label in graph.outputs}
    alive: dict[str, int] = {}
    peak = 0
    for at, node in enumerate(graph.nodes):
        ended = [root for root in alive if last.get(root, at) <= at]
        if is_elementwise(node):  # writes into the memory of an input that nobody needs any more
            for root in ended:
                del alive[root]
        alive |= {one.label: bytes_of([one]) for one in node.outputs if layout.root(one.label) == one.label}
        peak = max(peak, sum(alive.values()))
        for root in ended:
            alive.pop(root, None)
    return peak
