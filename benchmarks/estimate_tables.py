"""The tables of docs/performance.md, made of the rows of estimates.jsonl: each stands between two comments there."""

import re
from collections.abc import Callable, Iterable, Sequence

from benchmarks.estimate_rows import OURS, TRITON, UPSTREAM, Case, Part, Row
from services.console.estimate_view import table
from services.kernel_lab.estimate.roofline import TimeModel, model_of
from shared.experiment.presets import PRESETS
from shared.machine.gpus import GPUS, MAC, Device, find_device

Rows = dict[Case, Row]
LOOPS = (UPSTREAM, OURS, TRITON)
CHIPS = {"M5": MAC.hardware_key, "M4": "apple-m4-16gb-10gpu", "M4 Max": "apple-m4-max-64gb-40gpu"}
GOALS = (Case("gb10", "m5-balanced", TRITON), Case("h100", "upstream", TRITON))
ORDER = ("h100", "gb10", "rtx50", "a100", "b200", "h200", "l40s", "rtx40")
NO_ROW = "-"


def all_tables(rows: Rows) -> dict[str, str]:
    """Name of the block -> Markdown. Tables without a row are left out."""
    blocks: dict[str, list[str]] = {
        "steps": step_table(rows),
        "goals": goal_table(rows),
        "compiled": compile_table(rows),
        "ops": op_table(rows),
        "mac": mac_table(rows),
    }
    for case in GOALS:
        blocks[f"phases {case.target}"] = phase_table(rows, case)
        blocks[f"costs {case.target}"] = cost_table(rows, case)
    return {name: "\n".join(lines) for name, lines in blocks.items() if len(lines) > 2}


def refreshed(page: str, rows: Rows) -> str:
    """The page with its blocks as the rows have them. ValueError when it has no place for one."""
    for name, text in all_tables(rows).items():
        page = _replaced(page, name, text)
    return page


def _replaced(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- estimate: {name} -->", "<!-- end -->"
    block = re.compile(f"{begin}\n.*?{end}", flags=re.DOTALL)
    if len(block.findall(page)) != 1:
        raise ValueError(f"docs/performance.md needs one place for '{name}': the lines {begin} and {end}")
    return block.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def step_table(rows: Rows) -> list[str]:
    """A line for each target and preset, the loops in one cell: upstream / ours / ours with Triton kernels."""
    header = ["target", "preset", "batch", "tok/s", "kB a token", "kernels a step", "memory, MB"]
    return table(header, [step_line(rows, case) for case in places(rows) if case.target != MAC.target])


def places(rows: Rows) -> list[Case]:
    """Targets and presets of which there is a row of our own loop."""
    cases = [case for case in rows if case.loop == OURS]
    targets, presets = (*ORDER, MAC.target), list(PRESETS)
    return sorted(cases, key=lambda case: (targets.index(case.target), presets.index(case.preset)))


def step_line(rows: Rows, case: Case) -> list[str]:
    model = model_of(find_device(case.target))

    def cell(number: Callable[[Row], str]) -> str:
        return " / ".join(number(row) if row else NO_ROW for row in beside(rows, case))

    return [
        case.target,
        case.preset,
        f"{rows[case].device_batch_size} / {rows[case].total_batch_size:,}",
        cell(lambda row: f"{speed(row, model):,.0f}"),
        cell(lambda row: f"{row.bytes_per_token / 1e3:,.0f}"),
        cell(lambda row: f"{row.kernels:,}"),
        cell(lambda row: f"{row.memory_mb:,.0f}"),
    ]


def beside(rows: Rows, case: Case, loops: Sequence[str] = LOOPS) -> list[Row | None]:
    return [rows.get(Case(case.target, case.preset, loop)) for loop in loops]


def speed(row: Row, model: TimeModel) -> float:
    return row.tokens_per_s(model.bandwidth, model.peak)


def goal_table(rows: Rows) -> list[str]:
    """With Triton kernels over upstream's loop: 0.70x of the bytes and 0.5x of the kernels are the goal."""
    lines = []
    for case in places(rows):
        upstream, _, triton = beside(rows, case)
        if upstream and triton:
            model = model_of(find_device(case.target))
            lines.append(
                [
                    case.target,
                    case.preset,
                    f"{triton.bytes_per_token / upstream.bytes_per_token:.3f}x",
                    f"{triton.kernels / upstream.kernels:.2f}x",
                    f"{speed(triton, model) / speed(upstream, model):.2f}x",
                    f"{triton.memory_mb / upstream.memory_mb:.2f}x",
                ]
            )
    return table(["target", "preset", "bytes", "kernels", "tok/s", "memory"], lines)


def compile_table(rows: Rows) -> list[str]:
    """Architectures in rows, presets in columns: kernels of all loops together that compile, of those there are."""
    presets = [preset for preset in PRESETS if any(row.compiled for row in rows.values() if row.preset == preset)]
    lines = []
    for architecture in dict.fromkeys(gpu.architecture for gpu in sorted(GPUS, key=lambda gpu: gpu.capability)):
        here = [row for row in rows.values() if row.architecture == architecture]
        if here:
            failed = "; ".join(sorted({name for row in here for name in row.failed})) or "none"
            lines.append([architecture, *(compiled(here, preset) for preset in presets), failed])
    return table(["architecture", *presets, "those that do not compile"], lines)


def compiled(rows: Iterable[Row], preset: str) -> str:
    chosen = [row for row in rows if row.preset == preset]
    tried = sum(row.compiled for row in chosen)
    return f"{tried - sum(len(row.failed) for row in chosen)} of {tried}" if tried else NO_ROW


def op_table(rows: Rows, preset: str = "m5-balanced", most: int = 12) -> list[str]:
    """Shares of the time of our step with Triton kernels: ops in rows, targets in columns."""
    here = [row for target in ORDER if (row := rows.get(Case(target, preset, TRITON)))]
    shares = [{part.name: share(part, row) for part in row.ops} for row in here]
    names = sorted({name for one in shares for name in one}, key=lambda name: -sum(one.get(name, 0) for one in shares))
    lines = [[name, *(percent(one.get(name)) for one in shares)] for name in names[:most]]
    return table([f"{preset}, share of the step", *(row.target for row in here)], lines)


def share(part: Part, row: Row) -> float:
    model = model_of(find_device(row.target))
    return row.seconds(part, model.bandwidth, model.peak) / row.seconds(row, model.bandwidth, model.peak)


def percent(value: float | None) -> str:
    return NO_ROW if value is None else f"{100 * value:.1f} %"


def phase_table(rows: Rows, case: Case) -> list[str]:
    here = [row for row in beside(rows, case) if row]
    names = dict.fromkeys(part.name for row in here for part in row.phases)
    moved = [{part.name: part.bytes_per_token for part in row.phases} for row in here]
    lines = [[name, *(f"{one.get(name, 0) / 1e3:,.1f}" for one in moved)] for name in names]
    return table(["phase, kB a token", *(row.loop for row in here)], lines)


def cost_table(rows: Rows, case: Case) -> list[str]:
    row = rows.get(case)
    lines = [
        [part.name, f"{part.launches:,}", f"{part.bytes_per_token / 1e3:,.1f}", percent(share(part, row))]
        for part in (row.ops if row else ())
        if row
    ]
    return table(["op, with Triton kernels", "launches", "kB a token", "share of the step"], lines)


def mac_table(rows: Rows) -> list[str]:
    """Ours / the port's."""
    header = [
        "preset",
        "kernels a step",
        "MB a step",
        "GFLOP a step",
        "memory, MB",
        *(f"{chip}, tok/s" for chip in CHIPS),
    ]
    models = [model_of(Device(MAC.target, key, MAC.architecture)) for key in CHIPS.values()]
    lines = []
    for case in places(rows):
        if case.target == MAC.target:
            both = [row for row in beside(rows, case, (OURS, UPSTREAM)) if row]
            cells = [
                [f"{row.kernels:,}" for row in both],
                [f"{row.bytes_per_token * row.total_batch_size / 1e6:,.0f}" for row in both],
                [f"{row.flops_per_token * row.total_batch_size / 1e9:,.0f}" for row in both],
                [f"{row.memory_mb:,.0f}" for row in both],
                *([f"{speed(row, model):,.0f}" for row in both] for model in models),
            ]
            lines.append([case.preset, *(" / ".join(cell) for cell in cells)])
    return table(header, lines)
