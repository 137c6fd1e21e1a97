"""The kernels of a graph that Inductor has scheduled: how often each starts, what it moves and multiplies.

Bytes are Inductor's own count for what it writes itself: every buffer that a kernel reads or writes, once; what goes
by an index counts what is reached (indexed.py). Library kernels and custom ops move their arguments and results once,
unless the op says otherwise (kernels/op_cost.py).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch._inductor import ir
from torch._inductor.codegen.triton import TritonScheduling
from torch._inductor.graph import GraphLowering
from torch._inductor.scheduler import BaseSchedulerNode, ExternKernelSchedulerNode
from torch.fx import Node
from torch.utils.flop_counter import flop_registry

from kernels.op_cost import OpCost, cost_of_op, has_cost, stored_bytes
from services.kernel_lab.estimate import indexed
from services.kernel_lab.estimate.origins import op_of
from shared.kernel_lab.estimate import Kind

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "_scaled_mm"}
ADDING = {"addmm", "baddbmm"}
"""products that are added to an array, which PyTorch copies to where the sum will lie; a row vector it does not
(aten/src/ATen/native/cuda/Blas.cpp)"""


@dataclass(frozen=True)
class GraphKernel:
    """One kernel of a graph; numbers are of one run of the graph."""

    kind: Kind
    name: str
    op: str
    launches: int
    bytes: int
    flops: int = 0


class KernelLog:
    """Which scheduled nodes each Triton kernel was written for, while it is entered."""

    def __init__(self) -> None:
        self.nodes: dict[str, list[BaseSchedulerNode]] = {}

    def __enter__(self) -> "KernelLog":
        define = TritonScheduling.define_kernel

        def logged(scheduling: Any, source: str, schedule: Iterable[Any], kernel: Any) -> str:
            schedule = list(schedule)
            name = define(scheduling, source, schedule, kernel)
            self.nodes.setdefault(name, []).extend(one for one in schedule if isinstance(one, BaseSchedulerNode))
            return name

        self._patch = patch.object(TritonScheduling, "define_kernel", logged)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def kernels_of(graph: GraphLowering, log: KernelLog, source: str) -> Iterator[GraphKernel]:
    yield from _triton_kernels(graph, log, source)
    for node in graph.scheduler.nodes:
        if isinstance(node, ExternKernelSchedulerNode) and not isinstance(node.node, ir.MultiOutput):
            yield from _library_kernel(node)


def _triton_kernels(graph: GraphLowering, log: KernelLog, source: str) -> Iterator[GraphKernel]:
    started = Counter(re.findall(r"\b(\w+)\.run\(", source))
    seen: set[str] = set()
    for name, nodes in log.nodes.items():
        fused = {id(one): one for one in (_fused(graph, node) for node in nodes)}
        moved = sum(indexed.scheduled_bytes(one) for one in fused.values() if one.get_name() not in seen)
        seen |= {one.get_name() for one in fused.values()}
        origins = [origin for node in nodes for one in node.get_nodes() for origin in _origins(one)]
        yield GraphKernel(Kind.TRITON, name, op_of(origins), started[name], moved)


def _fused(graph: GraphLowering, node: BaseSchedulerNode) -> BaseSchedulerNode:
    return graph.scheduler.name_to_fused_node.get(node.get_name(), node)


def _origins(node: BaseSchedulerNode) -> list[Node]:
    return [] if node.node is None else list(node.node.get_origins())


def _library_kernel(node: ExternKernelSchedulerNode) -> Iterator[GraphKernel]:
    assert node.node is not None
    name = getattr(node.node, "python_kernel_name", None) or type(node.node).__name__
    called = name.removesuffix(".default").split(".")[-1]
    origin = _origin_of_call(node, called)
    if origin is None:
        yield GraphKernel(Kind.LIBRARY, name, op_of(_origins(node)), 1, node.get_read_write_buffers_sizes())
        return
    cost, name = cost_of_node(origin, called), origin.target.overloadpacket.__name__
    yield GraphKernel(kind_of(origin.target), name, op_of([origin]), cost.launches, cost.bytes, cost.flops)


def _origin_of_call(node: ExternKernelSchedulerNode, name: str) -> Any:
    """The line of the graph that this call is for. A result that is also viewed and copied has several lines."""
    assert node.node is not None
    lines = [node.node.get_origin_node(), *_origins(node)]
    calls = [(one, one.target) for one in lines if one is not None and isinstance(one.target, torch._ops.OpOverload)]
    named = [one for one, target in calls if target.overloadpacket.__name__ == name]
    return next(iter([*named, *(one for one, _ in calls)]), None)


def kind_of(target: torch._ops.OpOverload) -> Kind:
    if target.namespace not in ("aten", "prims"):
        return Kind.CUSTOM
    return Kind.PRODUCT if target.overloadpacket.__name__ in PRODUCTS else Kind.LIBRARY


def cost_of_node(node: Node, called: str) -> OpCost:
    """Of one call in a graph whose nodes know their values. called: what the compiler starts for it, which may change
    an argument that the line of the graph leaves as it is."""
    values = torch.fx.node.map_arg((node.args, node.kwargs), lambda one: one.meta["val"])
    arguments, named, result = tuple(values[0]), dict(values[1]), node.meta.get("val")
    if called == "index_put_" and indexed.is_by_index(node.target.overloadpacket.__name__):  # type: ignore[union-attr]
        return OpCost(indexed.op_bytes(called, arguments, named, result))
    return cost_of_call(node.target, arguments, named, result)


def cost_of_call(target: Any, arguments: tuple[Any, ...], named: dict[str, Any], result: Any) -> OpCost:
    name = target.overloadpacket.__name__
    if target.namespace == "aten" and indexed.is_by_index(name):
        return OpCost(indexed.op_bytes(name, arguments, named, result))
    outputs = result if isinstance(result, list | tuple) else (result,)
    cost = cost_of_op(target._schema.name, arguments, named, outputs)
    count = flop_registry.get(target.overloadpacket)
    if count is None or has_cost(target._schema.name):
        return cost
    flops = int(count(*arguments, **named, out_val=result))
    if target.overloadpacket.__name__ in ADDING and stored_bytes(arguments[0]) == stored_bytes(result):
        return OpCost(cost.bytes + stored_bytes(arguments[0]) + stored_bytes(result), flops, cost.launches + 1)
    return OpCost(cost.bytes, flops, cost.launches)
