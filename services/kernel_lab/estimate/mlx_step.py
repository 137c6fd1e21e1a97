"""One optimizer step of an MLX recipe, counted: traced with the shapes of a step and fused as mx.compile does.

The weights that `build` draws are computed; no step is. Runs the recipe, so only the sandboxed process calls it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlx.core as mx
import mlx.nn  # noqa: F401  it compiles functions of its own when it is imported, which say nothing of a recipe

from kernels.attention import mlx_choose
from kernels.op_cost import OpCost
from services.kernel_lab.estimate.messages import Count
from services.kernel_lab.estimate.mlx_fusion import FUSED, fuse
from services.kernel_lab.estimate.mlx_kernels import PRODUCTS, Layout, is_elementwise, peak_bytes
from services.kernel_lab.estimate.mlx_trace import Graph, Node, stand_ins, trace
from shared.engines import open_engine
from shared.experiment.recipe import blaming, check_protocol, load_recipe
from shared.kernel_lab.estimate import KernelCount, Kind, Phase, StepCount
from shared.machine.gpus import find_device

PROGRESS = 0.25
"""of the budget: before the learning rate falls"""
OP_NAMES = {"Reduce": "reductions", "Concatenate": "copies", "Gather": "table rows", "Scatter": "table gradients"}
OP_NAMES |= {"Reshape": "copies", "Flatten": "copies", "Pad": "copies", "SliceUpdate": "copies", "Full": "fills"}


def count_step(request: Count) -> StepCount:
    """InvalidRecipe, in one line, when the recipe cannot be traced."""
    device = find_device(request.target)
    compiled: list[Callable] = []

    def as_it_is(function: Callable, **_: Any) -> Callable:
        compiled.append(function)
        return function

    with ExitStack() as stack:
        stack.enter_context(stand_ins())
        stack.enter_context(patch.object(mx, "compile", as_it_is))
        # what a real device would find out by trying: the first candidate stands for it
        stack.enter_context(patch.object(mlx_choose, "probe", lambda *arguments: None))
        engine = open_engine(
            "mlx", "cpu", dtype="bf16", compile="off", kernels=request.kernels, hardware_key=device.hardware_key
        )
        module = load_recipe(Path(request.recipe))
        with blaming("failed in build()"):
            recipe = module.build(request.shape, request.vocab_size, 42, replace(engine.handle, compiles=True))
        check_protocol(recipe)
        with blaming("cannot be estimated: its step() failed on arrays without values"):
            state = arrays_of(recipe.state())
            mx.eval(state)
            graph = traced_step(recipe, request)
    return counted(fuse(graph) if compiled else graph, sum(one.nbytes for one in state), _notes(bool(compiled)))


def traced_step(recipe: Any, request: Count) -> Graph:
    rows = mx.zeros((request.shape.rows_per_step, request.shape.seq_len + 1), dtype=mx.int32)

    def step(rows: mx.array) -> list[mx.array]:
        loss = recipe.step(rows, PROGRESS)
        return [loss, *arrays_of(recipe.state())]

    with patch.object(mx, "eval", _not_yet), patch.object(mx, "async_eval", _not_yet):
        return trace(step, rows)


def _not_yet(*arrays: Any) -> None:
    """A step is traced as one graph, also where a recipe asks for a part of it earlier."""


def arrays_of(state: dict[str, dict[str, Any]]) -> list[mx.array]:
    return [array for group in state.values() for array in group.values() if isinstance(array, mx.array)]


def counted(graph: Graph, state_bytes: int, notes: tuple[str, ...] = ()) -> StepCount:
    layout = Layout(graph)
    sums: dict[tuple[Kind, str, str], tuple[int, OpCost]] = {}
    for node, cost in zip(graph.nodes, layout.costs, strict=True):
        if cost.launches and node.outputs[0].size:
            key = kind_of(node), kernel_name(node), op_of(node)
            calls, before = sums.get(key, (0, OpCost(0, 0, 0)))
            sums[key] = calls + 1, _sum(before, cost)
    return StepCount(
        kernels=tuple(
            KernelCount(phase=Phase.STEP, kind=kind, kernel=kernel, op=op, calls=calls, launches=cost.launches,
                        bytes=cost.bytes, flops=cost.flops)
            for (kind, kernel, op), (calls, cost) in sums.items()
        ),
        host_launches=sum(cost.launches for _, cost in sums.values()),
        state_bytes=state_bytes,
        gradient_bytes=0,
        peak_bytes=state_bytes + peak_bytes(graph, layout),
        notes=notes,
    )  # fmt: skip


def _sum(one: OpCost, other: OpCost) -> OpCost:
    return OpCost(one.bytes + other.bytes, one.flops + other.flops, one.launches + other.launches)


def kind_of(node: Node) -> Kind:
    if node.name in PRODUCTS:
        return Kind.PRODUCT
    return Kind.METAL if node.name.startswith(FUSED) else Kind.LIBRARY


def kernel_name(node: Node) -> str:
    shape = "x".join(map(str, node.outputs[0].shape)) or "scalar"
    return f"{node.name[:70]} {shape}"


def op_of(node: Node) -> str:
    if node.name in PRODUCTS:
        return "products"
    if is_elementwise(node):
        return "elementwise"
    return OP_NAMES.get(node.name, node.name.removesuffix("VJP").removesuffix("Axis"))


def _notes(is_compiled: bool) -> tuple[str, ...]:
    return () if is_compiled else ("eager: every primitive is a kernel, but a repeated subexpression counts once",)
