"""A device by the name that jobs and command lines use: `cpu`, `mps`, `metal` or `cuda:N`. Read once, here.

Beside it the precision that an engine computes in.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class DeviceKind(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"
    """an Apple GPU as torch calls it"""
    METAL = "metal"
    """an Apple GPU as mlx calls it"""


class Precision(StrEnum):
    """Of products and activations, as jobs name it."""

    BF16 = "bf16"
    FP32 = "fp32"

    @property
    def long_name(self) -> str:
        """As frameworks and records call it."""
        return {Precision.BF16: "bfloat16", Precision.FP32: "float32"}[self]


@dataclass(frozen=True)
class Device:
    kind: DeviceKind
    index: int = 0
    """which of the visible CUDA devices; 0 elsewhere"""

    @classmethod
    def parse(cls, name: str) -> "Device":
        """ValueError when no device is called that."""
        if matched := re.fullmatch(r"cuda:(\d+)", name):
            return cls(DeviceKind.CUDA, int(matched[1]))
        if name in (DeviceKind.CPU, DeviceKind.MPS, DeviceKind.METAL):
            return cls(DeviceKind(name))
        raise ValueError(f"unknown device '{name}': choose cpu, cuda:0, metal or mps")

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.is_cuda else str(self.kind)

    @property
    def is_cpu(self) -> bool:
        return self.kind is DeviceKind.CPU

    @property
    def is_cuda(self) -> bool:
        return self.kind is DeviceKind.CUDA

    @property
    def is_apple(self) -> bool:
        """The same GPU under either name."""
        return self.kind in (DeviceKind.MPS, DeviceKind.METAL)
