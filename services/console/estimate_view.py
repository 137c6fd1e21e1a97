"""An estimate as tables: Markdown when a program or a file reads, a table on a terminal, or one JSON document."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markdown import Markdown

from shared.kernel_lab.estimate import Cost, Estimate, KernelCount, SideEstimate

MOST_OPS = 16


def show(estimate: Estimate, top: int, as_json: bool) -> None:
    if as_json:
        print(estimate.model_dump_json())
        return
    text = markdown(estimate, top)
    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        print(text)


def markdown(estimate: Estimate, top: int) -> str:
    shape = estimate.shape
    lines = [
        f"# One step on {estimate.target} ({estimate.architecture}, estimated)",
        "",
        f"{shape.depth} layers of {shape.d_model}, {shape.seq_len} tokens a row, {shape.device_batch_size} rows a pass,"
        f" {shape.total_batch_size:,} tokens a step in {shape.accumulation_steps} pass(es), vocabulary"
        f" {estimate.vocab_size}. {estimate.framework}. Time: {estimate.model}.",
        "",
        *summary(estimate.sides),
    ]
    for side in estimate.sides:
        lines += ["", f"## {side.side.name}: by phase", "", *cost_table("phase", side.phases, side)]
        lines += ["", f"## {side.side.name}: by op", "", *cost_table("op", side.ops[:MOST_OPS], side)]
        lines += ["", f"## {side.side.name}: the {top} kernels that move most", "", *kernel_table(side, top)]
        lines += compiled_lines(side)
    return "\n".join(lines)


def summary(sides: Sequence[SideEstimate]) -> list[str]:
    """One column a side; with two, a third holds the first over the second."""
    rows: list[tuple[str, list[float], str]] = [
        ("tokens/s", [side.tokens_per_s for side in sides], ",.0f"),
        ("step, ms", [1e3 * side.seconds for side in sides], ",.2f"),
        ("bytes a token", [side.bytes_per_token for side in sides], ",.0f"),
        ("FLOPs a token, millions", [side.flops_per_token / 1e6 for side in sides], ",.1f"),
        ("kernels started a step", [side.launches for side in sides], ",.0f"),
        ("launches by the host a step", [side.step.host_launches for side in sides], ",.0f"),
        ("memory, MB", [side.memory_bytes / 2**20 for side in sides], ",.0f"),
    ]
    header = ["", *(side.side.name for side in sides), *(["ratio"] if len(sides) == 2 else [])]
    body = [[name, *(format(value, spec) for value in values), *_ratio(values)] for name, values, spec in rows]
    return table(header, body)


def _ratio(values: list[float]) -> list[str]:
    if len(values) != 2:
        return []
    return [f"{values[0] / values[1]:.3f}" if values[1] else "-"]


def cost_table(what: str, costs: Sequence[Cost], side: SideEstimate) -> list[str]:
    total = sum(cost.seconds for cost in side.phases) or 1.0
    header = [what, "launches", "MB", "kB a token", "GFLOP", "ms", "share"]
    body = [
        [
            cost.name,
            f"{cost.launches:,}",
            f"{cost.bytes / 1e6:,.1f}",
            f"{cost.bytes / 1e3 / side.tokens:,.1f}",
            f"{cost.flops / 1e9:,.0f}",
            f"{1e3 * cost.seconds:,.3f}",
            f"{100 * cost.seconds / total:.1f} %",
        ]
        for cost in costs
    ]
    return table(header, body)


def kernel_table(side: SideEstimate, top: int) -> list[str]:
    largest: list[KernelCount] = sorted(side.step.kernels, key=lambda kernel: -kernel.bytes)[:top]
    header = ["phase", "kind", "kernel", "op", "launches", "MB", "GFLOP"]
    body = [
        [
            kernel.phase,
            kernel.kind,
            kernel.kernel[:60],
            kernel.op,
            f"{kernel.launches:,}",
            f"{kernel.bytes / 1e6:,.1f}",
            f"{kernel.flops / 1e9:,.0f}",
        ]
        for kernel in largest
    ]
    return table(header, body)


def compiled_lines(side: SideEstimate) -> list[str]:
    compiled = side.step.compiled
    if not compiled:
        return []
    failed = [one for one in compiled if one.error]
    lines = [
        "",
        f"{len(compiled) - len(failed)} of {len(compiled)} Triton kernels compile for {compiled[0].architecture}.",
    ]
    return lines + [f"- {one.kernel}: {one.error}" for one in failed]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Of Markdown, with its columns aligned, so that it can be read as it is."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
