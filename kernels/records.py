"""What is said about an op and its kernels, with the field names of the public kernel-benchmark schema.

Definition, Workload, Solution and Trace are flashinfer-bench's (SOL-ExecBench keeps the same names). What that schema
lacks is here too: gradients, several precisions, test shapes, a tolerance that is relative to the plain framework's own
error, and wrong kernels that must be rejected. Imports no framework, so a definition is read without running one.
"""

import hashlib
import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from shared.contracts import Contract, Sha256

OpName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
"""name of a folder in kernels/, too"""
KernelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
"""name of a solution's file, without .py"""
EntryPoint = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_/]+\.py::[A-Za-z_]\w*$")]
"""file and function, relative to the op's folder"""
HardwareKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,119}$")]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Framework = Literal["torch", "mlx"]
"""whose arrays a kernel takes: that of the engine"""


class Status(StrEnum):
    """How an evaluation ended. Only PASSED leads on."""

    PASSED = "PASSED"
    INCORRECT_SHAPE = "INCORRECT_SHAPE"
    INCORRECT_NUMERICAL = "INCORRECT_NUMERICAL"
    INCORRECT_DTYPE = "INCORRECT_DTYPE"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    COMPILE_ERROR = "COMPILE_ERROR"
    TIMEOUT = "TIMEOUT"
    REWARD_HACK = "REWARD_HACK"


class DType(StrEnum):
    FLOAT64 = "float64"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT64 = "int64"
    PRECISION = "precision"
    """that of the workload: activations are asked in each of a definition's precisions"""


class Language(StrEnum):
    TRITON = "triton"
    METAL = "metal"
    TORCH = "torch"
    MLX = "mlx"


class Family(StrEnum):
    """Groups of kernels by what they save on a GPU."""

    LAUNCH_FUSION = "launch_fusion"
    NORM = "norm"
    LOSS_PRELUDE = "loss_prelude"
    DATA_MOVEMENT = "data_movement"
    MATMUL_EPILOGUE = "matmul_epilogue"
    ATTENTION_PRELUDE = "attention_prelude"
    FUSED_MLP = "fused_mlp"


class AxisConst(Contract):
    type: Literal["const"] = "const"
    value: int = Field(gt=0)
    description: str = ""


class AxisVar(Contract):
    type: Literal["var"] = "var"
    description: str = ""


Axis = Annotated[AxisConst | AxisVar, Field(discriminator="type")]


class TensorSpec(Contract):
    shape: tuple[str, ...] | None
    """names of axes; () is a tensor with no axis, None a Python number"""
    dtype: DType
    description: str = ""
    scale: float = Field(default=1.0, gt=0)
    """standard deviation of random numbers"""
    offset: float = Field(default=0.0, ge=0)
    """standard deviation of what is added to all numbers of a row, one number for each row: an op whose result does
    not depend on it may be computed in a way that is right near 0 alone"""
    below: str | None = None
    """axis whose length bounds random integers"""
    value: float | None = None
    """of a Python number"""
    length_of: str | None = None
    """axis whose length a Python number is"""


class Tolerance(Contract):
    """error <= times_plain x the plain framework's error at the same precision + roundings of the largest value in it.
    And the same on average: mean error <= times_plain x the plain framework's + roundings_on_average of the mean value.

    The second part is for results on which the plain framework is right by luck."""

    times_plain: NotNegative = 2.0
    roundings: NotNegative = 1.0
    roundings_on_average: NotNegative = 0.25
    """one rounding to nearest is less than that on average; of few numbers more is allowed, they may all be unlucky"""
    least_size_float32: NotNegative = 0.0
    """in float32 a result counts as at least this large: it is a difference of numbers of that size"""
    roundings_of_sum: NotNegative = 8.0
    """the same for a gradient that is one number, of the size of its terms (Definition.sums). A norm's error is common
    to a row, so a right block_prelude needed 2 once in 100 draws, 2.9 once in 1,000, and at most 4.4 in 6,400"""


class Definition(Contract):
    """What an op computes, and what is asked of whoever computes it faster."""

    name: OpName
    op_type: str
    description: str
    axes: dict[str, Axis]
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    reference: dict[Framework, EntryPoint]
    """the plain implementation in each framework"""
    constraints: tuple[str, ...] = ()
    """comparisons of axes and numbers that every workload meets, such as "D % 2 == 0" """
    precisions: tuple[DType, ...] = (DType.BFLOAT16, DType.FLOAT32)
    gradients: tuple[str, ...] = ()
    """inputs whose gradients are compared too"""
    parameters: tuple[str, ...] = ()
    """those of them that the recipe gives as its own weights (torch.nn.Parameter); the others come out of other ops"""
    sums: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """those that are one number, and the axes of its terms, which it is summed over. The torch reference takes
    them spread over these axes, too"""
    test_axes: tuple[dict[str, int], ...]
    """small and odd, so that every mask is met"""
    bench_axes: tuple[dict[str, int], ...]
    """as the presets have them"""
    tolerance: Tolerance = Tolerance()
    backward_follows: bool = False
    """whether recipes ask for the gradients of a call before they make the next one. Otherwise a kernel must be right
    where calls come between, as in a model of several layers"""
    wrong: dict[str, Status] = Field(default_factory=dict)
    """files that must be rejected, and the status each gets in at least one precision; in the other it may pass"""
    family: Family | None = None

    @model_validator(mode="after")
    def names_fit(self) -> Self:
        for name, spec in {**self.inputs, **self.outputs}.items():
            named = {*(spec.shape or ()), *(axis for axis in (spec.below, spec.length_of) if axis)}
            if unknown := named - self.axes.keys():
                raise ValueError(f"{name} has axes {sorted(unknown)} that the definition does not name")
        if unknown := set(self.gradients) - self.inputs.keys():
            raise ValueError(f"gradients of {sorted(unknown)}, which are no inputs")
        if unknown := set(self.parameters) - set(self.gradients):
            raise ValueError(f"parameters {sorted(unknown)} without a gradient")
        numbers = {name for name in self.gradients if self.inputs[name].shape == ()}
        if self.sums.keys() != numbers:
            raise ValueError(f"sums of {sorted(self.sums)}, gradients that are one number are {sorted(numbers)}")
        if unknown := {axis for axes in self.sums.values() for axis in axes} - self.axes.keys():
            raise ValueError(f"sums over {sorted(unknown)}, which are no axes")
        free = {name for name, axis in self.axes.items() if isinstance(axis, AxisVar)}
        for axes in (*self.test_axes, *self.bench_axes):
            if axes.keys() != free:
                raise ValueError(f"axes {sorted(axes)} given, the definition varies {sorted(free)}")
            self.check(axes)
        return self

    def sizes(self, axes: dict[str, int]) -> dict[str, int]:
        """Lengths of all axes, the constant ones too."""
        return axes | {name: axis.value for name, axis in self.axes.items() if isinstance(axis, AxisConst)}

    def check(self, axes: dict[str, int]) -> None:
        """ValueError when these lengths break a constraint."""
        for constraint in self.constraints:
            if not _holds(constraint, self.sizes(axes)):
                raise ValueError(f"{self.name} needs {constraint}; asked for {axes}")


def _holds(constraint: str, sizes: dict[str, int]) -> bool:
    """Whether `A <op> B` is true, both sides sums of products and remainders of axes and numbers."""
    if not re.fullmatch(r"[A-Za-z0-9_ +*%<>=]+", constraint):
        raise ValueError(f"constraint '{constraint}' holds more than axes, numbers, + * % and a comparison")
    return bool(eval(constraint, {"__builtins__": {}}, dict(sizes)))


class RandomInput(Contract):
    type: Literal["random"] = "random"


class ScalarInput(Contract):
    type: Literal["scalar"] = "scalar"
    value: int | float


class Workload(Contract):
    """An op at one size and precision."""

    axes: dict[str, int]
    inputs: dict[str, Annotated[RandomInput | ScalarInput, Field(discriminator="type")]]
    uuid: str
    precision: DType


class SourceFile(Contract):
    path: str
    """relative to the checkout, or to the workspace of a candidate"""
    content: str


class BuildSpec(Contract):
    languages: tuple[Language, ...] = Field(min_length=1)
    target_hardware: tuple[str, ...] = ("any",)
    """architectures it was written for"""
    entry_point: EntryPoint
    destination_passing_style: bool = False
    dependencies: tuple[str, ...] = ()


class Solution(Contract):
    name: str
    definition: OpName
    author: str
    spec: BuildSpec
    sources: tuple[SourceFile, ...] = Field(min_length=1)
    """the entry point's file first"""
    description: str = ""

    @property
    def sha256(self) -> str:
        """Of what runs: the sources and how they are started."""
        text = json.dumps(self.model_dump(mode="json", include={"spec", "sources"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Environment(Contract):
    hardware: HardwareKey
    libs: dict[str, str]
    """package and version"""


class Correctness(Contract):
    """The output or gradient that came nearest to its limit, or broke it, by its largest error or by its mean one."""

    max_absolute_error: NotNegative
    max_relative_error: NotNegative
    """of the largest value"""
    allowed_error: NotNegative
    worst: str
    """"output y" or "gradient of x" """
    details: dict[str, NotNegative] = Field(default_factory=dict)
    """each one's error as a share of what is allowed"""


class Performance(Contract):
    latency_ms: NotNegative
    reference_latency_ms: NotNegative
    speedup_factor: NotNegative
    details: dict[str, float] = Field(default_factory=dict)


class Evaluation(Contract):
    status: Status
    environment: Environment
    timestamp: datetime
    log: str = ""
    correctness: Correctness | None = None
    performance: Performance | None = None

    @field_validator("timestamp")
    @classmethod
    def in_some_zone(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("a timestamp needs its time zone")
        return value

    @model_validator(mode="after")
    def passed_by_comparison(self) -> Self:
        if self.status is Status.PASSED and self.correctness is None:
            raise ValueError("PASSED without a comparison")
        return self


class Trace(Contract):
    """One solution, evaluated once. Traces alone lead to a promotion."""

    definition: OpName
    workload: Workload
    solution: str
    evaluation: Evaluation
    solution_sha256: Sha256


def tensor(
    *shape: str, dtype: DType = DType.PRECISION, scale: float = 1.0, offset: float = 0.0, below: str | None = None
) -> TensorSpec:
    return TensorSpec(shape=shape, dtype=dtype, scale=scale, offset=offset, below=below)


def number(value: float) -> TensorSpec:
    return TensorSpec(shape=None, dtype=DType.FLOAT64, value=value)


def length(axis: str) -> TensorSpec:
    return TensorSpec(shape=None, dtype=DType.INT64, length_of=axis)


def axes(**described: str) -> dict[str, Axis]:
    """Axes that every workload sizes."""
    return {name: AxisVar(description=text) for name, text in described.items()}
