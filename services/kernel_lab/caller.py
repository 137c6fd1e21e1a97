"""Calls a candidate's function with PyTorch: prepares inputs, runs forward and backward, looks at what came back.

Names that a candidate could replace in torch are bound here before it is imported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kernels.correctness import TORCH_DTYPES
from kernels.records import Definition, Status
from kernels.triton_interpreter import mend
from services.kernel_lab.messages import Run, Serve
from services.kernel_lab.placement import Placed, mix_in, spread, view
from services.kernel_lab.refusal import Refusal
from shared.machine.device import Device

_Tensor, _grad, _type, _is_complex = torch.Tensor, torch.autograd.grad, type, torch.is_complex
_Parameter = torch.nn.Parameter
_empty_like, _full = torch.empty_like, torch.full


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Call:
    """One set of inputs, ready to be used."""

    arguments: tuple[Any, ...]
    wanted: tuple[torch.Tensor, ...]
    """inputs whose gradients are asked for"""
    cotangents: tuple[torch.Tensor, ...]
    tensors: dict[str, torch.Tensor]
    """all inputs that are tensors"""


class TorchCaller:
    def __init__(self, request: Serve):
        self.version = torch.__version__
        self.definition: Definition = request.definition
        self.device = torch.device("mps" if Device.parse(request.device).is_apple else request.device)
        self.on_cpu = Device.parse(request.device).is_cpu
        self.compiled = request.compiled
        mend()
        self.function: Callable[..., Any]
        self._synchronize = _nothing if self.on_cpu else _synchronizer(self.device)
        self.finish()  # a device is opened now, not in the first call

    def take(self, function: Callable[..., Any]) -> None:
        self.function = torch.compile(function, dynamic=False) if self.compiled else function

    def finish(self) -> None:
        """Waits for everything on the device, whatever stream it went to."""
        self._synchronize()

    def prepare(self, order: Run, memory: np.ndarray, *, copied: bool) -> Call:
        """Tensors that are the shared memory itself on a CPU, unless `copied`; copies on another device."""
        tensors = {place.name: self._tensor(memory, place, copied) for place in order.inputs}
        for name in self.definition.gradients:
            tensors[name] = self._as_in_training(name, tensors[name])
        arguments = tuple(tensors.get(name, order.scalars.get(name)) for name in self.definition.inputs)
        return Call(
            arguments=arguments,
            wanted=tuple(tensors[name] for name in self.definition.gradients),
            cotangents=tuple(self._tensor(memory, place, copied) for place in order.cotangents),
            tensors=tensors,
        )

    def _tensor(self, memory: np.ndarray, place: Placed, copied: bool) -> torch.Tensor:
        there = view(memory, place)
        if self.on_cpu:
            return there.clone() if copied else there
        return there.to(self.device, copy=True)

    def _as_in_training(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """The same memory, as the recipe gives it: its own parameter, or what another op has computed."""
        return _Parameter(x) if name in self.definition.parameters else x.requires_grad_().view_as(x)

    def poison(self, results: Sequence[Placed]) -> None:
        """Fills memory that the allocator will hand out next, so that what is not written shows."""
        sizes = [place.num_bytes for place in results for _ in range(3)]
        held = [_full((max(size, 1),), 0xFF, dtype=torch.uint8, device=self.device) for size in sizes]
        self._synchronize()
        del held

    def call_around_another(self, call: Call, order: Run) -> dict[str, torch.Tensor]:
        """As in a model of several layers, where what one call leaves behind for its backward must outlast the next."""
        other = self._with_other_numbers(call)

        def between() -> None:
            if order.between == "a whole call":
                self.call(other)
            else:
                self.function(*other.arguments)
            self.poison(order.results)

        return self.call(call, between)

    def _with_other_numbers(self, call: Call) -> Call:
        """No result of it is one of the call's own."""
        tensors = {name: -0.5 * x.detach() if x.is_floating_point() else x for name, x in call.tensors.items()}
        for name in self.definition.gradients:
            tensors[name] = self._as_in_training(name, tensors[name])
        arguments = zip(self.definition.inputs, call.arguments, strict=True)
        return Call(
            arguments=tuple(tensors.get(name, given) for name, given in arguments),
            wanted=tuple(tensors[name] for name in self.definition.gradients),
            cotangents=tuple(-0.5 * dy for dy in call.cotangents),
            tensors=tensors,
        )

    def call(self, call: Call, between: Callable[[], None] = _nothing) -> dict[str, torch.Tensor]:
        """{"output y": ..., "gradient of x": ...}. Copies outputs on the current stream, as the next op would read."""
        found = self.function(*call.arguments)
        between()
        outputs = found if _type(found) is tuple else (found,)
        if len(outputs) != len(self.definition.outputs):
            raise Refusal(
                Status.INCORRECT_SHAPE, f"it returned {len(outputs)} results, not {len(self.definition.outputs)}"
            )
        results = {f"output {name}": y for name, y in zip(self.definition.outputs, outputs, strict=True)}
        if call.wanted:
            for name, y in results.items():
                _expect_tensor(name, y)
            gradients = self._gradients(outputs, call)
            results |= {
                f"gradient of {name}": dx for name, dx in zip(self.definition.gradients, gradients, strict=True)
            }
        return results

    def _gradients(self, outputs: Sequence[Any], call: Call) -> Sequence[Any]:
        pairs = [(y, dy) for y, dy in zip(outputs, call.cotangents, strict=True) if y.requires_grad]
        if not pairs:
            raise Refusal(Status.RUNTIME_ERROR, "its outputs have no gradient: backward is missing")
        for y, dy in pairs:
            if y.shape != dy.shape:
                raise Refusal(Status.INCORRECT_SHAPE, f"an output is {list(y.shape)}, expected {list(dy.shape)}")
        incoming = [dy.to(y.dtype) for y, dy in pairs]
        return _grad([y for y, _ in pairs], call.wanted, incoming, allow_unused=True)

    def open_store(self, ticket: dict[str, Any] | None, memory: np.ndarray) -> Any:
        """Shared memory for results: on the device where the lab offers it, else the host's."""
        if ticket is None:
            return memory
        from shared.engines import cuda_ipc

        return cuda_ipc.open_shared(ticket).view(torch.uint8)

    def hand_over(self, outcome: dict[str, Any], places: Sequence[Placed], store: Any) -> None:
        """Results to the shared memory, in the stream's order. Refusal when one is not what the definition says."""
        for place in places:
            found = outcome[place.name]
            _expect(place, found, self.device)
            view(store, place).copy_(found.detach())

    def return_inputs(self, call: Call, order: Run, memory: np.ndarray) -> None:
        """Where the inputs are copies: back to where the lab can see whether they were changed."""
        if not self.on_cpu:
            self.lay_back(call, order.inputs, memory)

    def lay_back(self, call: Call, inputs: Sequence[Placed], memory: np.ndarray) -> None:
        for place in inputs:
            view(memory, place).copy_(call.tensors[place.name].detach())
        self._synchronize()

    def stage(self, places: Sequence[Placed], memory: np.ndarray) -> list[torch.Tensor]:
        """What the touches of a batch will write, on the device: copies from the host would wait for it each time."""
        if self.on_cpu or not places:
            return [view(memory, place) for place in places]
        end = max(place.offset + place.num_bytes for place in places)
        there = torch.from_numpy(memory[:end]).to(self.device)
        parts = [there[place.offset : place.offset + place.num_bytes] for place in places]
        return [part.view(TORCH_DTYPES[place.dtype]) for part, place in zip(parts, places, strict=True)]

    def touch(
        self,
        call: Call,
        name: str,
        start: int,
        step: int,
        numbers: torch.Tensor,
        before: torch.Tensor | None = None,
    ) -> None:
        """Replaces some numbers of an input, past autograd and its version counter, with those of `before` mixed in."""
        touched = spread(call.tensors[name].data.view(-1), start, step, len(numbers))
        touched.copy_(numbers)
        if before is not None:
            mix_in(touched, before)

    def refill(self, call: Call, order: Run, memory: np.ndarray) -> None:
        """Other numbers at the same addresses, past autograd and version counters."""
        for place in order.inputs:
            call.tensors[place.name].data.copy_(view(memory, place))
        for place, cotangent in zip(order.cotangents, call.cotangents, strict=True):
            cotangent.data.copy_(view(memory, place))


def _synchronizer(device: torch.device) -> Callable[[], None]:
    on_cuda, on_mps = torch.cuda.synchronize, torch.mps.synchronize
    return (lambda: on_cuda(device)) if device.type == "cuda" else on_mps


def _expect_tensor(name: str, found: Any) -> None:
    """A subclass may compute when it is looked at."""
    if _type(found) is not _Tensor:
        raise Refusal(Status.INCORRECT_SHAPE, f"{name} is a {_type(found).__name__}, expected a plain tensor")


def _expect(place: Placed, found: Any, device: torch.device) -> None:
    if found is None:
        raise Refusal(Status.INCORRECT_NUMERICAL, f"{place.name} is missing: it does not depend on that input")
    _expect_tensor(place.name, found)
    if found.layout is not torch.strided or tuple(found.shape) != place.shape:
        raise Refusal(Status.INCORRECT_SHAPE, f"{place.name} is {list(found.shape)}, expected {list(place.shape)}")
    if found.dtype != TORCH_DTYPES[place.dtype]:
        raise Refusal(Status.INCORRECT_DTYPE, f"{place.name} is {found.dtype}, expected {TORCH_DTYPES[place.dtype]}")
    if found.device.type != device.type:
        raise Refusal(Status.INCORRECT_SHAPE, f"{place.name} is on {found.device}, expected {device}")
    if place.strides is not None and tuple(found.stride()) != place.strides and not found.is_contiguous():
        raise Refusal(
            Status.INCORRECT_SHAPE, f"{place.name} has strides {list(found.stride())}, expected {list(place.strides)}"
        )
