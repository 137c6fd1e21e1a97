"""Inductor's answer for one graph on a GPU that is not there: its kernels, what they cost, and its memory.

Inductor is stopped when its source is written, before anything would be compiled or run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from torch._guards import TracingContext, tracing
from torch._inductor import compile_fx, config
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule

from services.kernel_lab.estimate import gpu_graph
from services.kernel_lab.estimate.absent_gpu import pretending
from services.kernel_lab.estimate.graph_kernels import GraphKernel, KernelLog, kernels_of, peak_bytes
from shared.machine.gpus import Gpu

QUIETLY = {"force_disable_caches": True, "compile_threads": 1, "triton.unique_kernel_names": True}


@dataclass(frozen=True)
class Lowered:
    kernels: tuple[GraphKernel, ...]
    peak_bytes: int
    """most memory alive at a time, without weights and other arguments that outlive the graph"""
    source: str


class _Reached(BaseException):
    """Inductor wraps every Exception, so this is none."""

    def __init__(self, lowered: Lowered):
        super().__init__("the source is written")
        self.lowered = lowered


def lower(module: GraphModule, inputs: Sequence[Any], gpu: Gpu, **kind: Any) -> Lowered:
    """kind: is_backward, is_inference. Raises what Inductor raises."""
    mode = FakeTensorMode()
    module, inputs = gpu_graph.moved(module, inputs, mode)
    with (
        pretending(gpu),
        config.patch(QUIETLY),
        patch.object(GraphLowering, "compile_to_module", _at_source),
        tracing(TracingContext(mode)),
    ):
        try:
            compile_fx.compile_fx_inner(module, inputs, **kind)
        except _Reached as reached:
            return reached.lowered
    return Lowered((), 0, "")  # nothing to compute: Inductor returns such a graph as it is


def _at_source(graph: GraphLowering) -> None:
    with KernelLog() as log:
        code, _ = graph.codegen()
    source = str(getattr(code, "value", code))
    raise _Reached(Lowered(tuple(kernels_of(graph, log, source)), peak_bytes(graph), source))
