"""Numbers and lines of text whose bounds hold wherever they come from: a recipe may have had a hand in them."""

from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

LARGEST_RECIPE_BYTES = 256 * 1024
"""of a recipe's source, at every door"""
LONGEST_LINE, LONGEST_REMARK, LONGEST_NAME = 1000, 500, 100
LARGEST_MFU_PERCENT = 1000.0


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """Printable characters, single spaces, at most `longest` of them."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:longest]


def believable_mfu(value: Any) -> Any:
    """None for a share of the peak that no run reaches: it says that one of the two figures is wrong."""
    return value if value is None or 0 <= float(value) <= LARGEST_MFU_PERCENT else None


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
OneLine = Annotated[str, AfterValidator(one_line)]
"""what a recipe may have had a hand in: no line ends, no control characters, at most 1000 characters"""
Remark = Annotated[str, AfterValidator(partial(one_line, longest=LONGEST_REMARK))]
"""the same, at most 500 characters"""
Name = Annotated[str, AfterValidator(partial(one_line, longest=LONGEST_NAME))]
"""the same, at most 100 characters"""

# Numbers a recipe may have had a hand in: finite, and below what any honest run meets.
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Megabytes = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
MfuPercent = Annotated[float | None, BeforeValidator(believable_mfu)]
TokensPerSecond = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
NumSteps = Annotated[int, Field(ge=0, le=10**10)]
NumTokens = Annotated[int, Field(ge=0, le=10**16)]
NumParams = Annotated[int, Field(ge=0, le=10**14)]
BitsPerByte = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
Size = Annotated[int, Field(gt=0, lt=2**31)]
"""what somebody asks for and a recipe is told: 31 bits at most, since no source is charged for them"""
IdeaId = Annotated[str, StringConstraints(pattern=r"^i[0-9a-f]{10}$")]
"""says what is trained: shared by every run of one recipe with the same settings"""

OUR_CHOICES = frozenset({
    "sandbox", "process isolation", "mfu", "engine", "device", "preset", "shape", "dataset", "text coverage",
    "eval_batch_size", "eval_costs", "validation rows", "machine load", "recipe source",
    "compiled kernels", "promoted kernels", "kernel traces", "compute beside the budget", "start-up",
})  # fmt: skip
"""what only trusted code chooses"""
