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

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * TORCH_DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Layout:
    """What is to be placed: name, dtype and shape of each."""

    items: tuple[tuple[str, DType, tuple[int, ...]], ...]

    @classmethod
    def of(cls, tensors: dict[str, torch.Tensor]) -> "Layout":
        return cls(tuple((name, DTYPES[x.dtype], tuple(x.shape)) for name, x in tensors.items()))

    @property
    def num_bytes(self) -> int:
        """With room to shift everything."""
        sizes = (math.prod(shape) * TORCH_DTYPES[dtype].itemsize for _, dtype, shape in self.items)
        return sum(_padded(size) for size in sizes)

    def place(self, start: int) -> tuple[Placed, ...]:
        """One after the other, from the aligned offset `start` on."""
        placed, offset = [], start
        for name, dtype, shape in self.items:
            placed.append(Placed(name=name, dtype=dtype, shape=shape, offset=offset))
            offset += _padded(placed[-1].num_bytes)
        return tuple(placed)


def _padded(num_bytes: int) -> int:
    return max(1, -(-num_bytes // ALIGNMENT)) * ALIGNMENT


def write(memory: np.ndarray, placed: Sequence[Placed], tensors: Sequence[torch.Tensor]) -> None:
    for place, tensor in zip(placed, tensors, strict=True):
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        memory[place.offset : place.offset + place.num_bytes] = raw


def view(memory: np.ndarray | torch.Tensor, place: Placed) -> torch.Tensor:
    """The very memory (bytes, on the host or on a device) as a tensor; writing to it writes there."""
    part = memory[place.offset : place.offset + place.num_bytes]
    raw = torch.from_numpy(part) if isinstance(part, np.ndarray) else part
    return raw.view(TORCH_DTYPES[place.dtype]).view(place.shape)
