"""What one optimizer step starts: graphs that were lowered before, and every op of the recipe's uncompiled lines."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch._guards import TracingContext
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from kernels.op_cost import OpCost, bytes_of, cost_of_op, has_cost
from services.kernel_lab.estimate.graph_kernels import PRODUCTS, GraphKernel
from services.kernel_lab.estimate.indexed import is_by_index, op_bytes
from services.kernel_lab.estimate.origins import calling_function
from shared.kernel_lab.estimate import KernelCount, Kind, Phase

MOVE_NOTHING = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "lift_fresh"}
MOVE_NOTHING |= {"alias", "_unsafe_view", "set_", "resize_", "is_pinned", "_local_scalar_dense"}
ONLY_WRITTEN = {"fill_", "zero_", "copy_", "normal_", "uniform_", "_foreach_copy_", "_foreach_zero_"}
"""their first argument is not read"""
CHUNK_ELEMENTS, BLOCKS, TENSORS = 65536, 320, 36
"""of one launch of an op over many tensors: ATen/native/cuda/MultiTensorApply.cuh"""


@dataclass
class _Sum:
    calls: int = 0
    launches: int = 0
    bytes: int = 0
    flops: int = 0


class Recorder(TorchDispatchMode):
    """Counts while it is entered and not paused."""

    def __init__(self) -> None:
        super().__init__()
        self.counting = False
        self.host_launches = 0
        self._sums: dict[tuple[Phase, Kind, str, str], _Sum] = {}

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True

    def __enter__(self) -> "Recorder":
        self.counting = True
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self.counting = False
        super().__exit__(*error)

    @contextmanager
    def paused(self) -> Iterator[None]:
        before, self.counting = self.counting, False
        try:
            yield
        finally:
            self.counting = before

    def ran(self, phase: Phase, kernels: Iterable[GraphKernel], graphed: bool) -> None:
        """A lowered graph was run once."""
        if not self.counting:
            return
        launches = 0
        for kernel in kernels:
            self._add((phase, kernel.kind, kernel.name, kernel.op), kernel.launches, kernel.bytes, kernel.flops)
            launches += kernel.launches
        self.host_launches += min(1, launches) if graphed else launches

    def choose_step(self, device: Any, compute: Callable, live: Any) -> Callable:
        """In place of kernels/launch_fusion/whole_step.py: rows copied in, one launch, the loss copied out."""
        if not device.whole_step:
            return compute

        def replayed(rows: torch.Tensor) -> torch.Tensor:
            rows = rows.clone()
            before = self.host_launches
            loss = compute(rows)
            self.host_launches = before + (1 if self.counting else 0)
            return loss.clone()

        return replayed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.counting and TracingContext.try_get() is None and starts_kernel(func) and not on_host(args):
            self._eager(func, args, kwargs or {}, result)
        return result

    def _eager(self, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        cost = cost_of_eager(func, args, kwargs, result)
        phase, op = phase_now()
        name = func.overloadpacket.__name__
        kind = Kind.PRODUCT if name in PRODUCTS else Kind.EAGER
        self._add((phase, kind, name, op or calling_function()), cost.launches, cost.bytes, cost.flops)
        self.host_launches += cost.launches

    def _add(self, key: tuple[Phase, Kind, str, str], launches: int, moved: int, flops: int) -> None:
        total = self._sums.setdefault(key, _Sum())
        total.calls += 1
        total.launches += launches
        total.bytes += moved
        total.flops += flops

    def counts(self) -> tuple[KernelCount, ...]:
        return tuple(
            KernelCount(
                phase=phase,
                kind=kind,
                kernel=name,
                op=op,
                calls=one.calls,
                launches=one.launches,
                bytes=one.bytes,
                flops=one.flops,
            )
            for (phase, kind, name, op), one in self._sums.items()
        )


def phase_now() -> tuple[Phase, str]:
    """And the op, where no line of the recipe says it: autograd adds gradients up on its own."""
    if torch._C._current_graph_task_id() != -1:
        return Phase.BACKWARD, "gradients added up"
    return (Phase.FORWARD if torch.is_grad_enabled() else Phase.OPTIMIZER), ""


def on_host(args: tuple[Any, ...]) -> bool:
    """A recipe whose numbers stay in the host's memory says so with this attribute; here all tensors are the CPU's."""
    return bool(args) and getattr(args[0], "stays_on_host", False)


def starts_kernel(func: Any) -> bool:
    return func.namespace != "prim" and not func.is_view and func.overloadpacket.__name__ not in MOVE_NOTHING


def cost_of_eager(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> OpCost:
    """Every argument read once, every result and changed argument written once; of what goes by an index, what is
    reached."""
    name = func._schema.name
    if has_cost(name):
        return cost_of_op(name, args, kwargs, ())
    packet = func.overloadpacket
    if func.namespace == "aten" and is_by_index(packet.__name__):
        return OpCost(op_bytes(packet.__name__, args, kwargs, result))
    read = args[1:] if packet.__name__ in ONLY_WRITTEN else args
    written = changed_arguments(func, args, kwargs)
    outputs = [] if written else tree_leaves(result)
    moved = bytes_of([*read, *kwargs.values()]) + bytes_of(written) + bytes_of(outputs)
    count = flop_registry.get(packet)
    flops = int(count(*args, **kwargs, out_val=result)) if count else 0
    return OpCost(moved, flops, launches_of(packet.__name__, args))


def changed_arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    named = dict(zip((one.name for one in func._schema.arguments), args, strict=False)) | kwargs
    changed = [one.name for one in func._schema.arguments if one.alias_info is not None and one.alias_info.is_write]
    return [named[name] for name in changed if name in named]


def launches_of(name: str, args: tuple[Any, ...]) -> int:
    """One, but for ops over lists of tensors: as many as hold all chunks."""
    if not name.startswith(("_foreach", "_fused")) or not args or not isinstance(args[0], list | tuple):
        return 1
    chunks = sum(ceil(max(1, tensor.numel()) / CHUNK_ELEMENTS) for tensor in args[0])
    return max(ceil(chunks / BLOCKS), ceil(len(args[0]) / TENSORS))
