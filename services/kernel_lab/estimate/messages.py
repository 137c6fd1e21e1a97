"""What is said to the process that runs the recipe; it answers with a StepCount (shared/kernel_lab/estimate.py)."""

from typing import Literal

from pydantic import Field

from shared.contracts import Contract, Shape
from shared.kernel_lab.estimate import StepCount


class Count(Contract):
    """Counts one optimizer step of a recipe."""

    kind: Literal["count"] = "count"
    recipe: str
    shape: Shape
    vocab_size: int = Field(gt=0)
    target: str
    kernels: dict[str, str]
    compile: Literal["on", "graphs", "step"]
    compile_kernels: bool


ANSWERS = {"step": StepCount}
