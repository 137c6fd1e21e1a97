"""Calls a candidate's function with MLX, as caller.py does with PyTorch: inputs are copies, gradients are mx.vjp's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import mlx.core as mx
import numpy as np

from kernels.records import Definition, DType, Status
from services.kernel_lab.messages import Run, Serve
from services.kernel_lab.placement import Placed
from services.kernel_lab.refusal import Refusal
from shared.machine.device import Device

MLX_DTYPES = {DType.FLOAT32: mx.float32, DType.BFLOAT16: mx.bfloat16, DType.INT64: mx.int64}
_array, _type, _vjp, _eval = mx.array, type, mx.vjp, mx.eval


@dataclass(frozen=True)
class Call:
    arguments: tuple[Any, ...]
    wanted: tuple[int, ...]
    """positions of the inputs whose gradients are asked for"""
    cotangents: tuple[mx.array, ...]
    tensors: dict[str, mx.array]


class MlxCaller:
    def __init__(self, request: Serve):
        self.version = metadata.version("mlx")
        self.definition: Definition = request.definition
        self.compiled = request.compiled
        self.function: Callable[..., Any]
        mx.set_default_device(mx.gpu if Device.parse(request.device).is_apple else mx.cpu)
        _eval(mx.zeros(1))

    def take(self, function: Callable[..., Any]) -> None:
        self.function = mx.compile(function) if self.compiled else function

    def finish(self) -> None:
        mx.synchronize()

    def prepare(self, order: Run, memory: np.ndarray, *, copied: bool) -> Call:
        tensors = {place.name: _from(memory, place) for place in order.inputs}
        names = list(self.definition.inputs)
        _eval(*tensors.values())
        return Call(
            arguments=tuple(tensors.get(name, order.scalars.get(name)) for name in names),
            wanted=tuple(names.index(name) for name in self.definition.gradients),
            cotangents=tuple(_from(memory, place) for place in order.cotangents),
            tensors=tensors,
        )

    def poison(self, results: Sequence[Placed]) -> None:
        """Memory that the allocator hands out next holds NaN."""
        held = [mx.full((max(place.num_bytes, 1),), 0xFF, dtype=mx.uint8) for place in results for _ in range(3)]
        _eval(*held)
        del held

    def call(self, call: Call) -> dict[str, mx.array]:
        def of_wanted(*wanted: mx.array) -> list[mx.array]:
            arguments = list(call.arguments)
            for position, value in zip(call.wanted, wanted, strict=True):
                arguments[position] = value
            return self._outputs(arguments)

        names = [f"output {name}" for name in self.definition.outputs]
        wanted = [call.arguments[position] for position in call.wanted]
        outputs, gradients = (
            _vjp(of_wanted, wanted, list(call.cotangents)) if wanted else (self._outputs(list(call.arguments)), [])
        )
        results = dict(zip(names, outputs, strict=True))
        results |= {f"gradient of {name}": g for name, g in zip(self.definition.gradients, gradients, strict=True)}
        _eval(*results.values())
        return results

    def _outputs(self, arguments: list[Any]) -> list[mx.array]:
        found = self.function(*arguments)
        outputs = list(found) if _type(found) is tuple else [found]
        if len(outputs) != len(self.definition.outputs):
            said = f"it returned {len(outputs)} results, not {len(self.definition.outputs)}"
            raise Refusal(Status.INCORRECT_SHAPE, said)
        for name, y in zip(self.definition.outputs, outputs, strict=True):
            if _type(y) is not _array:
                raise Refusal(Status.INCORRECT_SHAPE, f"output {name} is a {_type(y).__name__}, expected an mx.array")
        return outputs

    def open_store(self, ticket: dict[str, Any] | None, memory: np.ndarray) -> np.ndarray:
        return memory

    def hand_over(self, outcome: dict[str, Any], places: Sequence[Placed], memory: np.ndarray) -> None:
        for place in places:
            found = outcome[place.name]
            if tuple(found.shape) != place.shape:
                said = f"{place.name} is {list(found.shape)}, expected {list(place.shape)}"
                raise Refusal(Status.INCORRECT_SHAPE, said)
            if found.dtype != MLX_DTYPES[place.dtype]:
                said = f"{place.name} is {found.dtype}, expected {MLX_DTYPES[place.dtype]}"
                raise Refusal(Status.INCORRECT_DTYPE, said)
            raw = np.array(mx.contiguous(found).reshape(-1).view(mx.uint8))
            memory[place.offset : place.offset + place.num_bytes] = raw

    def return_inputs(self, call: Call, order: Run, memory: np.ndarray) -> None:
        """The copies, to where the lab can see whether they were changed."""
        for place in order.inputs:
            raw = np.array(call.tensors[place.name].reshape(-1).view(mx.uint8))
            memory[place.offset : place.offset + place.num_bytes] = raw

    def stage(self, places: Sequence[Placed], memory: np.ndarray) -> list[mx.array]:
        raise Refusal(Status.RUNTIME_ERROR, "kernels in MLX are not timed by the lab: compare them in the trainer")


def _from(memory: np.ndarray, place: Placed) -> mx.array:
    raw = mx.array(memory[place.offset : place.offset + place.num_bytes])
    return raw.view(MLX_DTYPES[place.dtype]).reshape(place.shape)
