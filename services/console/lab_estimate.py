"""`autoresearch lab estimate`: what a training step costs on a GPU that need not be here."""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from services.console.interruption import ends_like_ctrl_c
from services.console.train import pairs
from shared.stages.executors import NativeExecutor, raise_fault

if TYPE_CHECKING:
    from shared.kernel_lab.estimate import Estimate, EstimateRequest

OP_KERNEL = "needs OP=KERNEL, for example fused_mlp=triton_saved"


def estimate(
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe to estimate. Default: the shipped one, gpt_mlx.py for a Mac.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="A second recipe, beside the first.")] = None,
    preset: Annotated[str, typer.Option(help="Model and batch shape, as for autoresearch train.")] = "m5-balanced",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the shape, or compile (auto or graphs)."),
    ] = None,
    target: Annotated[
        str, typer.Option(help="Whose GPU: gb10, h200, h100, b200, a100, rtx50, l40s, rtx40, mac.")
    ] = "h100",
    kernels: Annotated[
        list[str] | None, typer.Option(metavar="OP=KERNEL", help="Use this kernel of kernels/ for an op.")
    ] = None,
    against_kernels: Annotated[
        list[str] | None, typer.Option(metavar="OP=KERNEL", help="The same recipe with other kernels, beside it.")
    ] = None,
    compile_kernels: Annotated[
        bool, typer.Option("--compile-kernels", help="Compile each Triton kernel for the architecture, too.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="Kernels to list.")] = 12,
    json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")] = False,
) -> None:
    """Count launches, bytes and FLOPs of one training step, and compute its time, without a GPU."""
    from services.console import estimate_view
    from services.console.estimate_request import make_request

    with TemporaryDirectory(prefix="estimate-") as folder, ends_like_ctrl_c():
        request = make_request(
            recipes=(recipe, against),
            kernel_sets=(
                pairs(kernels or [], f"--kernels {OP_KERNEL}"),
                pairs(against_kernels, f"--against-kernels {OP_KERNEL}") if against_kernels else None,
            ),
            preset=preset,
            changes=pairs(set_ or []),
            target=target,
            compile_kernels=compile_kernels,
            answer=Path(folder) / "estimate.json",
        )
        found = run_estimate(request)
    estimate_view.show(found, top, json)
    failed = [one for side in found.sides for one in side.step.compiled if one.error]
    raise typer.Exit(1 if failed else 0)


class EstimateExecutor(NativeExecutor):
    """An estimate needs no device and works on no run directory, so it is none of the stages."""

    def command(self, stage: str, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", f"services.kernel_lab.{stage}", *arguments]


def run_estimate(request: "EstimateRequest") -> "Estimate":
    """ValueError, in one line, for what cannot be estimated."""
    from shared.kernel_lab.estimate import Estimate

    code, line = EstimateExecutor().execute("estimate", [request.model_dump_json()], lambda stage: None)
    raise_fault(code, line)
    if code:
        raise ValueError(f"the estimate was ended ({line or f'exit code {code}'}); run it again")
    return Estimate.model_validate_json(request.answer.read_bytes())
