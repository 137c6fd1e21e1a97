"""Which primitives mx.compile joins into one kernel, by the rules of MLX's mlx/compile.cpp (0.32).

MLX hands out the graph before it fuses, and not after. That these rules give as many kernels, of the same primitives,
as mx.compile itself is a test: tests/services/kernel_lab/test_mlx_estimate.py.
"""

from collections.abc import Sequence
from dataclasses import replace

from services.kernel_lab.estimate.mlx_trace import Array, Graph, Node

MOST_DEEP, MOST_ARRAYS = 11, 24
FUSED = "Compiled"
BROADCAST = "Broadcast"
_NAMES = """
Abs Add ArcCos ArcCosh ArcSin ArcSinh ArcTan ArcTan2 ArcTanh AsType BitwiseBinary BitwiseInvert Ceil Conjugate Cos
Cosh Divide Equal Erf ErfInv Exp Expm1 Floor Greater GreaterEqual Imag Less LessEqual Log Log1p LogAddExp LogicalAnd
LogicalNot LogicalOr Maximum Minimum Multiply Negative NotEqual Power Real Remainder Round Select Sigmoid Sign Sin
Sinh Sqrt Square Subtract Tan Tanh
"""
ELEMENTWISE = set(_NAMES.split())
FUSABLE = ELEMENTWISE | {BROADCAST}


def fuse(graph: Graph) -> Graph:
    return _Fusion(graph).run()


class _Fusion:
    """One walk from the last node to the first; each node that is not taken yet starts a group."""

    def __init__(self, graph: Graph):
        self.nodes, self.outputs = graph.nodes, graph.outputs
        self.maker = {one.label: node for node in graph.nodes for one in node.outputs}
        self.readers: dict[str, list[str]] = {}
        """of each array: the first results of the nodes that read it"""
        for node in graph.nodes:
            for one in node.inputs:
                self.readers.setdefault(one.label, []).append(node.outputs[0].label)
        self.taken: set[str] = set()
        self.copies = 0

    def run(self) -> Graph:
        kept: list[Node] = []
        for node in reversed(self.nodes):
            last = node.outputs[0]
            if last.label in self.taken:
                continue
            node = self.maker[last.label]  # its inputs may have been exchanged for copies
            group = self._group(last) if node.name in ELEMENTWISE else {}
            kept.append(self._joined(last, group) if len(group) > 1 else node)
        return Graph(tuple(reversed(kept)), self.outputs)

    def _group(self, last: Array) -> dict[str, Node]:
        group: dict[str, Node] = {}
        self._gather(last, 0, last.shape, group, set())
        return group

    def _gather(self, one: Array, depth: int, shape: tuple[int, ...], group: dict[str, Node], inputs: set[str]) -> None:
        if one.label in group:
            return
        node, is_output = self.maker.get(one.label), one.label in self.outputs
        if depth >= MOST_DEEP or node is None or node.name not in FUSABLE or (is_output and one.shape != shape):
            inputs.add(one.label)
            return
        if depth and not all(reader in group for reader in self.readers[one.label]):
            if node.name == BROADCAST and len(inputs) < MOST_ARRAYS:
                self._gather(self._copy_for(group, one, node), depth, shape, group, inputs)
            else:
                inputs.add(one.label)
            return
        (inputs.add if is_output else inputs.discard)(one.label)
        if len(inputs) >= MOST_ARRAYS:
            return
        group[one.label] = node
        for source in node.inputs:
            self._gather(source, depth + 1, shape, group, inputs)

    def _copy_for(self, group: dict[str, Node], one: Array, node: Node) -> Array:
        """A broadcast costs nothing, so the group gets one of its own; other readers keep theirs."""
        self.copies += 1
        copy = replace(one, label=f"{one.label}~{self.copies}")
        self.maker[copy.label] = replace(node, outputs=(copy,))
        inside = {reader for reader in self.readers[one.label] if reader in group}
        self.readers[copy.label] = [reader for reader in self.readers[one.label] if reader in inside]
        self.readers[one.label] = [reader for reader in self.readers[one.label] if reader not in inside]
        for reader in inside:
            inputs = tuple(copy if source.label == one.label else source for source in group[reader].inputs)
            group[reader] = self.maker[reader] = replace(group[reader], inputs=inputs)
        return copy

    def _joined(self, last: Array, group: dict[str, Node]) -> Node:
        order = self._in_order(last, group)
        inner = [node.outputs[0] for node in order[:-1]]
        results = (*(one for one in inner if one.label in self.outputs), last)
        inputs = {one.label: one for node in order for one in node.inputs if one.label not in group}
        joined = Node(FUSED + "".join(node.name for node in order), tuple(inputs.values()), results)
        self.taken |= {one.label for one in inner}
        for label in (*inputs, *(one.label for one in results)):
            self.readers[label] = [reader for reader in self.readers.get(label, []) if reader not in group]
        for label in inputs:
            self.readers[label] += [one.label for one in results]
        for one in results:
            self.maker[one.label] = joined
        return joined

    def _in_order(self, last: Array, group: dict[str, Node]) -> Sequence[Node]:
        order: dict[str, Node] = {}

        def visit(label: str) -> None:
            if label not in group or label in order:
                return
            for source in group[label].inputs:
                visit(source.label)
            order[label] = group[label]

        visit(last.label)
        return list(order.values())
