"""`autoresearch lab`: from an op that costs time to a kernel the trainer may trust. See docs/kernel-lab.md.

Every command is carried out by services/kernel_lab in a process of its own, here or on a worker.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from services.console import lab_estimate
from services.console.lab_answer import ask

app = typer.Typer(help="Find what costs time; write, verify, measure and promote kernels.", no_args_is_help=True)
app.command()(lab_estimate.estimate)

Candidate = Annotated[str, typer.Argument(help="OP/KERNEL of kernels/, or the folder of a workspace.")]
Device = Annotated[str | None, typer.Option(help="cuda:N, mps or cpu. Default: the best device of this machine.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]
Trace = Annotated[Path, typer.Argument(help="A trace of torch.profiler: JSON, also gzipped.")]
Output = Annotated[Path | None, typer.Option(help="Where it is written. Default: the lab's folder in ARE_HOME.")]
Preset = Annotated[str | None, typer.Option(help="Name of a preset. Default: this machine's own shape.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the ops, their kernels, and what is promoted on this machine."""
    ask("ListOps", json)


@app.command()
def init(
    op: Annotated[str, typer.Argument(help="Name of the op, as `lab list` has it.")],
    workspace: Annotated[Path | None, typer.Option(help="Folder to make. Default: one in ARE_HOME.")] = None,
    start_from: Annotated[str | None, typer.Option(help="Kernel to start from. Default: the reference.")] = None,
    language: Annotated[str, typer.Option(help="torch, triton, mlx or metal.")] = "torch",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Keep kernel.py, take what is fixed as it is now.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a workspace: one mutable kernel.py for an op."""
    ask("Init", json, op=op, workspace=workspace, start_from=start_from, language=language, refresh=refresh)


@app.command()
def extract(
    profile: Annotated[Path, typer.Option(help="JSON of `lab profile`, `lab trace-profile` or `lab estimate`.")],
    rank: Annotated[int, typer.Option(help="1 is the op that costs most.")] = 1,
    workspace: Annotated[Path | None, typer.Option(help="Folder to make. Default: one in ARE_HOME.")] = None,
    json: Json = False,
) -> None:
    """Make a workspace for the op that costs most in a profile."""
    ask("Extract", json, profile=profile, rank=rank, workspace=workspace)


@app.command()
def verify(
    candidate: Candidate,
    device: Device = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the first size, in every precision.")] = False,
    limit_s: Annotated[float, typer.Option(help="Seconds for each answer of the candidate.")] = 60.0,
    memory_mb: Annotated[int, typer.Option(help="Megabytes it may take beyond the framework's own.")] = 4096,
    json: Json = False,
) -> None:
    """Say whether a kernel is right: forward and gradients against the reference in float64."""
    ask("Verify", json, candidate=candidate, device=device, quick=quick, limit_s=limit_s, memory_mb=memory_mb)


@app.command()
def bench(
    candidate: Candidate,
    device: Device = None,
    against: Annotated[str, typer.Option(help="eager, compiled or both.")] = "both",
    rounds: Annotated[int, typer.Option(help="Pairs of candidate and baseline.")] = 15,
    axes: Annotated[str, typer.Option(metavar="N=512,C=256", help="A size of your own instead of the op's.")] = "",
    minutes: Annotated[float, typer.Option(help="For all sizes; what does not fit is left out, and is named.")] = 5.0,
    limit_s: Annotated[float, typer.Option(help="Seconds for each answer of the candidate.")] = 120.0,
    memory_mb: Annotated[int, typer.Option(help="Megabytes it may take beyond the framework's own.")] = 8192,
    json: Json = False,
) -> None:
    """Measure a kernel against the plain op, alternating, and against the device's limit."""
    ask("Bench", json, candidate=candidate, device=device, against=against, rounds=rounds, axes=numbers(axes),
        minutes=minutes, limit_s=limit_s, memory_mb=memory_mb)  # fmt: skip


@app.command()
def profile(
    preset: Preset = None,
    device: Device = None,
    steps: Annotated[int, typer.Option(help="Steps to record, after two to warm up.")] = 3,
    top_k: Annotated[int, typer.Option(help="Lines of the table.")] = 10,
    output: Output = None,
    json: Json = False,
) -> None:
    """Record training steps with torch.profiler and say where the time goes."""
    ask("Profile", json, preset=preset, device=device, steps=steps, top_k=top_k, output=output)


@app.command()
def capture(
    preset: Preset = None,
    device: Device = None,
    steps: Annotated[int, typer.Option(help="Steps to record.")] = 3,
    output: Output = None,
    json: Json = False,
) -> None:
    """Record training steps with Nsight Systems, on a CUDA device."""
    ask("Capture", json, preset=preset, device=device, steps=steps, output=output)


@app.command("trace-profile")
def trace_profile(
    trace: Trace, top_k: Annotated[int, typer.Option(help="Lines of the table.")] = 10, json: Json = False
) -> None:
    """Group the kernels of a trace into families by their share of the time."""
    ask("TraceProfile", json, trace=trace, top_k=top_k)


@app.command("auto-review")
def auto_review(trace: Trace, json: Json = False) -> None:
    """Name the bottleneck of a trace: launches, waiting, copies, or the kernels themselves."""
    ask("AutoReview", json, trace=trace)


@app.command("deep-profile")
def deep_profile(candidate: Candidate, device: Device = None, output: Output = None, json: Json = False) -> None:
    """Measure one kernel with Nsight Compute."""
    ask("DeepProfile", json, candidate=candidate, device=device, output=output)


@app.command("review-trace")
def review_trace(
    candidate: Candidate,
    trace: Annotated[Path, typer.Option(help="The trace that was looked at.")],
    relevance: Annotated[str, typer.Option(help="high, medium, low or none: how much the op matters there.")],
    note: Annotated[str, typer.Option(help="One line for the record.")] = "",
    device: Device = None,
    json: Json = False,
) -> None:
    """Record how much an op matters in a trace."""
    ask("ReviewTrace", json, candidate=candidate, trace=trace, relevance=relevance, note=note, device=device)


@app.command()
def evidence(
    op: Annotated[str | None, typer.Argument(help="Name of an op. Default: all of them.")] = None,
    hardware_key: Annotated[str | None, typer.Option(help="Another machine's, or all. Default: this one's.")] = None,
    json: Json = False,
) -> None:
    """Show what is known of the candidates of an op."""
    ask("Evidence", json, op=op, hardware_key=hardware_key)


@app.command()
def orchestrate(
    profile: Annotated[Path | None, typer.Option(help="JSON of `lab profile`, `trace-profile` or `estimate`.")] = None,
    device: Device = None,
    top_k: Annotated[int, typer.Option(help="How many steps to name.")] = 5,
    json: Json = False,
) -> None:
    """Say what to do next, from the ledger and a profile."""
    ask("Orchestrate", json, profile=profile, device=device, top_k=top_k)


@app.command("promotion-check")
def promotion_check(
    candidate: Annotated[str | None, typer.Argument(help="Default: everything promoted on this machine.")] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Say whether a kernel may be promoted and what is missing; without one, demote what is stale."""
    ask("PromotionCheck", json, candidate=candidate, device=device)


@app.command("integration-ab")
def integration_ab(
    candidate: Candidate,
    preset: Preset = None,
    device: Device = None,
    dataset: Annotated[str | None, typer.Option(help="Default: the one that was prepared last.")] = None,
    time_budget: Annotated[float, typer.Option(help="Training seconds of each run.")] = 20.0,
    repeats: Annotated[int, typer.Option(help="Pairs of runs.")] = 5,
    json: Json = False,
) -> None:
    """Compare a kernel with the reference in the real trainer, in pairs of runs."""
    ask("Integration", json, command="integration-ab", candidate=candidate, preset=preset, device=device,
        dataset=dataset, time_budget=time_budget, repeats=repeats)  # fmt: skip


@app.command("integration-suite")
def integration_suite(
    candidate: Candidate,
    preset: Preset = None,
    device: Device = None,
    dataset: Annotated[str | None, typer.Option(help="Default: the one that was prepared last.")] = None,
    time_budget: Annotated[float, typer.Option(help="Training seconds of each run.")] = 20.0,
    repeats: Annotated[int, typer.Option(help="Pairs of runs, for each preset.")] = 5,
    json: Json = False,
) -> None:
    """The same on this machine's shape and on the next larger preset."""
    ask("Integration", json, command="integration-suite", candidate=candidate, preset=preset, device=device,
        dataset=dataset, time_budget=time_budget, repeats=repeats)  # fmt: skip


@app.command()
def promote(candidate: Candidate, device: Device = None, json: Json = False) -> None:
    """Have recipes use a kernel on this hardware from now on."""
    ask("Promote", json, candidate=candidate, device=device)


def numbers(text: str) -> dict[str, Any] | None:
    """N=512,C=256"""
    pairs = [part.partition("=") for part in text.split(",") if part]
    return {name: value for name, _, value in pairs} or None
