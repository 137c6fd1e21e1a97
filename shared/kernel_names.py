"""Which kernel computes an op, as jobs and platform defaults name it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, TypeAdapter, ValidationError


def named_kernels(value: Any) -> Any:
    """{"op": "kernel"} from what --set takes, "op=kernel,op=kernel"."""
    if not isinstance(value, str):
        return value
    pairs = [part.split("=", 1) for part in value.split(",") if part]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("name kernels as op=kernel,op=kernel, such as fused_mlp=triton_saved")
    return dict(pairs)


KernelWord = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
MOST_LETTERS = 850
"""of all names together, as many as those that exist have. A recipe is told them, and no source is charged for that"""


def not_a_text(kernels: dict[str, str]) -> dict[str, str]:
    if (num_letters := sum(map(len, (*kernels, *kernels.values())))) > MOST_LETTERS:
        raise ValueError(f"the names of ops and kernels have {num_letters} letters, {MOST_LETTERS} are the most")
    return kernels


Kernels = Annotated[
    dict[KernelWord, KernelWord], BeforeValidator(named_kernels), Field(max_length=30), AfterValidator(not_a_text)
]
"""{op: kernel}"""
_ADAPTER: TypeAdapter[dict[str, str]] = TypeAdapter(Kernels)
UNREADABLE = {"unreadable": "unreadable"}


def kernels_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Of the values of --set. UNREADABLE, which is no kernel, for what no run can be set."""
    try:
        return _ADAPTER.validate_python(settings.get("kernels", ""))
    except ValidationError:
        return UNREADABLE
