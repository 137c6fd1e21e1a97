"""What `autoresearch lab estimate` asks for, what a recipe's process counted, and the estimate that is made of it.

Counts come from a process that ran the recipe: they are bounded, and nothing is decided by them. Times are computed
from them in a process that never ran it.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from shared.contracts import Contract, Name, OneLine, Remark, Shape

Bytes = Annotated[int, Field(ge=0, le=10**18)]
Flops = Annotated[int, Field(ge=0, le=10**24)]
Calls = Annotated[int, Field(ge=0, le=10**9)]
Time = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
LARGEST_KERNELS = 4000


class Phase(StrEnum):
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"
    STEP = "step"
    """all of it, in one graph: MLX does not tell what belongs where"""


class Kind(StrEnum):
    TRITON = "triton"
    """written by the compiler"""
    METAL = "metal"
    """written by mx.compile"""
    PRODUCT = "product"
    """of matrices, by a library"""
    CUSTOM = "custom"
    """an op of torch.library: attention and what kernels/ holds"""
    LIBRARY = "library"
    """another kernel that comes with the framework, in a compiled graph"""
    EAGER = "eager"
    """of the recipe's uncompiled lines"""


class Side(Contract):
    """One of the things compared."""

    name: Name
    recipe: Path
    kernels: dict[str, str] = Field(default_factory=dict)
    """op -> kernel, in place of what is promoted"""


class EstimateRequest(Contract):
    sides: tuple[Side, ...] = Field(min_length=1, max_length=2)
    shape: Shape
    vocab_size: int = Field(default=8192, gt=0)
    target: str
    """whose GPU is imagined: shared/machine/gpus.py"""
    compile: Literal["on", "graphs", "step"] = "on"
    """graphs: each compiled function is replayed as a CUDA graph; step: the whole step as one"""
    compile_kernels: bool = False
    """compile the Triton kernels for the architecture, too"""
    answer: Path
    """where the Estimate is written"""


class KernelCount(Contract):
    """One kernel of a step."""

    phase: Phase
    kind: Kind
    kernel: Name
    op: Name
    """what of kernels/ or of the recipe it computes"""
    calls: Calls
    """in one optimizer step"""
    launches: Calls
    """of those calls together"""
    bytes: Bytes
    """moved by those calls together"""
    flops: Flops
    """of products, by those calls together"""


class Compiled(Contract):
    """A Triton kernel compiled for the architecture; `error` says why not."""

    kernel: Name
    architecture: Name
    error: Remark | None = None


class StepCount(Contract):
    """What one optimizer step does, as the recipe's process counted it."""

    kind: Literal["step"] = "step"
    kernels: tuple[KernelCount, ...] = Field(max_length=LARGEST_KERNELS)
    host_launches: Calls
    """launches the CPU makes: a replayed CUDA graph is one, and its kernels stay what they are"""
    state_bytes: Bytes
    """weights and optimizer"""
    gradient_bytes: Bytes
    peak_bytes: Bytes
    """most memory alive at a time, state included"""
    compiled: tuple[Compiled, ...] = Field(default=(), max_length=LARGEST_KERNELS)
    notes: tuple[OneLine, ...] = Field(default=(), max_length=50)


class Cost(Contract):
    """Of a group of kernels, a step."""

    name: Name
    launches: Calls
    bytes: Bytes
    flops: Flops
    seconds: Time


class SideEstimate(Contract):
    side: Side
    step: StepCount
    tokens: int = Field(gt=0)
    """of one optimizer step"""
    seconds: Time
    """of one optimizer step"""
    tokens_per_s: Time
    memory_bytes: Bytes
    phases: tuple[Cost, ...]
    ops: tuple[Cost, ...]

    @property
    def launches(self) -> int:
        return sum(kernel.launches for kernel in self.step.kernels)

    @property
    def bytes_per_token(self) -> float:
        return sum(kernel.bytes for kernel in self.step.kernels) / self.tokens

    @property
    def flops_per_token(self) -> float:
        return sum(kernel.flops for kernel in self.step.kernels) / self.tokens


class Estimate(Contract):
    target: str
    architecture: str
    hardware_key: str
    peak_tflops: float
    bandwidth_gbs: float
    shape: Shape
    vocab_size: int
    model: OneLine
    """how times were computed, in words"""
    framework: Name
    sides: tuple[SideEstimate, ...]
