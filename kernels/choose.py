"""Picks what computes each op of a recipe: the kernel asked for, else the one promoted on this hardware, else the
recipe's own function. Which ones and why lands in the result, as the choice `kernels`.

    ops = choose_kernels(device, "torch", fused_mlp=fused_mlp, rope_qk_fused=rope_qk_fused)
    y = ops.fused_mlp(x, up, down)

docs/kernels.md
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import make_dataclass
from importlib.util import find_spec
from typing import Any

from kernels import catalog
from kernels.promotion import Promotion, find, read
from kernels.records import Language
from kernels.tried import TRIED

OWN = "reference"
"""what a job asks for where it wants the recipe's own function in spite of a promotion"""
NATIVE = {Language.TRITON: "sm_", Language.METAL: "metal", Language.TORCH: "", Language.MLX: ""}
"""beginning of the architectures a language runs on"""


def choose_kernels(
    device: Any, framework: str, promotions: Sequence[Promotion] | None = None, /, **own: Callable | None
) -> Any:
    """An object with one function per op named in `own`. ValueError when a kernel asked for cannot be used here.

    An op of which the recipe has no function of its own is None unless a kernel was chosen.
    `device` is an engine's handle; `promotions` replaces those of kernels/promoted.toml (tests).
    """
    rows = read() if promotions is None else promotions
    chosen: dict[str, Any] = dict(own)
    remarks = [f"{op} {kernel}: asked for, not used by this recipe" for op, kernel in _unused(device.kernels, own)]
    for op in own:
        kernel, why = _wanted(op, device.kernels.get(op), device, framework, rows)
        if kernel is not None:
            chosen[op] = _load(op, kernel, device, framework)
            remarks.append(f"{op} {kernel}: {why}")
        elif why:
            remarks.append(f"{op} reference: {why}")
    used = [f"{op} {kernel_of(function)}" for op, function in chosen.items() if function is not own[op]]
    reason = "; ".join(remarks) or f"nothing is promoted on {device.hardware_key or 'this device'}"
    device.note("kernels", ", ".join(used) or "references", reason)
    return make_dataclass("Ops", chosen, frozen=True)(**chosen)


def _unused(asked: Mapping[str, str], own: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(op, kernel) for op, kernel in asked.items() if op not in own and op in catalog.ops()]


def kernel_of(function: Callable) -> str:
    """The file a kernel's function is from."""
    return function.__module__.rsplit(".", 1)[-1]


def _wanted(
    op: str, asked: str | None, device: Any, framework: str, rows: Sequence[Promotion]
) -> tuple[str | None, str]:
    """The kernel to use, None for the recipe's own, and why; no reason where nobody said anything."""
    if asked is not None:
        return (None if asked == OWN else asked), "asked for"
    row = find(op, device.hardware_key, rows)
    if row is None:
        return None, ""
    if not _is_known(row):
        return None, f"{row.kernel} was promoted and is no kernel of this checkout"
    if catalog.signature(op, row.kernel) != row.signature:
        return None, f"{row.kernel} was promoted and has changed since, or torch or triton has: measure it again"
    if missing := missing_for(row.kernel, device.arch, framework):
        return None, f"{row.kernel} is promoted and {missing}"
    return row.kernel, f"promoted on {row.hardware_key} by {row.evidence}"


def _is_known(row: Promotion) -> bool:
    return row.op in catalog.ops() and (catalog.folder(row.op) / f"{row.kernel}.py").is_file()


def _load(op: str, kernel: str, device: Any, framework: str) -> Callable:
    if (op, kernel) not in TRIED:
        catalog.solution(op, kernel)  # ValueError names those there are
    if missing := missing_for(kernel, device.arch, framework):
        raise ValueError(f"kernel {kernel} of {op} {missing}")
    return catalog.load(op, kernel)


def missing_for(kernel: str, arch: str, framework: str) -> str:
    """Why the kernel cannot run there; empty when it can, also in Triton's interpreter."""
    language = catalog.language_of(kernel)
    if framework != catalog.framework_of(language):
        return f"is {language}, which the {framework} engine cannot call"
    if language is Language.TRITON and find_spec("triton") is None:
        return "needs triton, which is not installed: pip install -e '.[lab]'"
    interpreted = language is Language.TRITON and os.environ.get("TRITON_INTERPRET") == "1"
    if not interpreted and not arch.startswith(NATIVE[language]):
        return f"is {language}, which does not run on {arch}"
    return ""
