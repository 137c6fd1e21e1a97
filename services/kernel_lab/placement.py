"""Tensors at given places of a shared buffer, as both processes see them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field

from kernels.correctness import TORCH_DTYPES
from kernels.records import DType
from shared.contracts import Contract

ALIGNMENT = 64
"""bytes; what allocators give, so that a kernel may count on it"""
DTYPES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


class Placed(Contract):
    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int = Field(ge=0)
    strides: tuple[int, ...] | None = None
    """of a result, where the reference's are not contiguous: these are right too. None: any are"""
    transposed: bool = False
    """its last two axes lie the other way round in memory"""

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * TORCH_DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Layout:
    """What is to be placed: name, dtype and shape of each."""

    items: tuple[tuple[str, DType, tuple[int, ...]], ...]
    transposed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tensors: dict[str, torch.Tensor]) -> "Layout":
        items = tuple((name, DTYPES[x.dtype], tuple(x.shape)) for name, x in tensors.items())
        return cls(items, frozenset(name for name, x in tensors.items() if not x.is_contiguous()))

    @property
    def num_bytes(self) -> int:
        """With room to shift everything."""
        sizes = (math.prod(shape) * TORCH_DTYPES[dtype].itemsize for _, dtype, shape in self.items)
        return sum(_padded(size) for size in sizes)

    def place(self, start: int) -> tuple[Placed, ...]:
        """One after the other, from the aligned offset `start` on."""
        placed, offset = [], start
        for name, dtype, shape in self.items:
            turned = name in self.transposed
            placed.append(Placed(name=name, dtype=dtype, shape=shape, offset=offset, transposed=turned))
            offset += _padded(placed[-1].num_bytes)
        return tuple(placed)


def _padded(num_bytes: int) -> int:
    return max(1, -(-num_bytes // ALIGNMENT)) * ALIGNMENT


def write(memory: np.ndarray, placed: Sequence[Placed], tensors: Sequence[torch.Tensor]) -> None:
    for place, tensor in zip(placed, tensors, strict=True):
        turned = tensor.mT if place.transposed else tensor
        raw = turned.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        memory[place.offset : place.offset + place.num_bytes] = raw


def view(memory: np.ndarray | torch.Tensor, place: Placed) -> torch.Tensor:
    """The very memory (bytes, on the host or on a device) as a tensor; writing to it writes there."""
    part = memory[place.offset : place.offset + place.num_bytes]
    raw = torch.from_numpy(part) if isinstance(part, np.ndarray) else part
    flat = raw.view(TORCH_DTYPES[place.dtype])
    return (
        flat.view(*place.shape[:-2], place.shape[-1], place.shape[-2]).mT
        if place.transposed
        else flat.view(place.shape)
    )


def spread(line: torch.Tensor, start: int, step: int, count: int) -> torch.Tensor:
    """So many numbers of a line, at equal distances; writing to it writes there."""
    return line[start : start + (count - 1) * step + 1 : step]


BITS = {torch.float32: (torch.int32, 1 << 22), torch.bfloat16: (torch.int16, 1 << 6)}
"""integers of the same width, and the first bit after the point"""


def mix_in(numbers: torch.Tensor, results: torch.Tensor) -> None:
    """Flips the first bit after the point of each number where that of a result is set. Whoever has not computed the
    results cannot foresee it, as he could their signs, and no rounding that is allowed lets him choose it."""
    integers, first = BITS[numbers.dtype]
    bits = results.to(numbers.dtype).view(integers).bitwise_and(first)
    numbers[: len(results)].view(integers).bitwise_xor_(bits)
