"""Our recipe's training step on the targets that nobody needs to have, estimated, and its kernels compiled for each.

    python -m benchmarks.estimate_table                        (make estimate)
    python -m benchmarks.estimate_table --upstream /tmp/upstream --preset m5-balanced

Prints one table of targets, with upstream's step beside ours where a checkout of karpathy/autoresearch is given, what
costs most on each, and the compile matrix. Exit code 1 when a Triton kernel does not compile.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.upstream_recipe import upstream_recipe
from services.console.estimate_request import changed_shape
from services.console.estimate_view import table
from services.kernel_lab.estimate.estimate import estimate
from shared.contracts import Shape
from shared.experiment.request import default_recipe
from shared.kernel_lab.estimate import Estimate, EstimateRequest, Side

TARGETS = ("h100", "gb10", "rtx50", "a100", "b200")
BATCHES = {"m5-small": "32/32768", "m5-balanced": "32/32768", "m5-xlarge": "16/32768", "upstream": "128/524288"}
"""device / total, as in the published runs; other presets keep their own"""


def main() -> int:
    arguments = parse_arguments()
    with TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sides = [Side(name="ours", recipe=default_recipe("torch"))]
        if arguments.upstream:
            recipe = folder / "upstream_recipe.py"
            recipe.write_text(upstream_recipe(arguments.upstream / "train.py"), encoding="utf-8")
            sides.append(Side(name="upstream", recipe=recipe))
        shape = published_shape(arguments.preset)
        estimates = [estimated(target, arguments.preset, shape, tuple(sides), folder) for target in arguments.target]
    print(f"{arguments.preset}, {shape.device_batch_size} rows a pass, {shape.total_batch_size:,} tokens a step")
    for lines in (step_table(estimates), op_table(estimates), compile_table(estimates)):
        print("\n".join(["", *lines]), flush=True)
    return int(any(one.error for found in estimates for one in found.sides[0].step.compiled))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="m5-balanced")
    parser.add_argument("--target", nargs="+", default=TARGETS)
    parser.add_argument("--upstream", type=Path, help="a checkout of karpathy/autoresearch")
    parser.add_argument("--keep", type=Path, help="folder of the estimates: kept there, and read again when there")
    return parser.parse_args()


def published_shape(preset: str) -> Shape:
    if preset not in BATCHES:
        return changed_shape(preset, {})
    device, total = BATCHES[preset].split("/")
    return changed_shape(preset, {"device_batch_size": device, "total_batch_size": total})


def estimated(target: str, preset: str, shape: Shape, sides: tuple[Side, ...], folder: Path) -> Estimate:
    answer = folder / f"{target}-{preset}-compiled.json"
    if answer.exists():
        return Estimate.model_validate_json(answer.read_bytes())
    request = EstimateRequest(sides=sides, shape=shape, target=target, compile_kernels=True, answer=answer)
    return estimate(request)


def step_table(estimates: Sequence[Estimate]) -> list[str]:
    header = [
        "target",
        "loop",
        "tok/s",
        "bytes a token",
        "kernels a step",
        "host launches",
        "memory, MB",
        "of upstream's",
    ]
    rows = []
    for one in estimates:
        for side in one.sides:
            rows.append(
                [
                    one.target,
                    side.side.name,
                    f"{side.tokens_per_s:,.0f}",
                    f"{side.bytes_per_token:,.0f}",
                    f"{side.launches:,}",
                    f"{side.step.host_launches:,}",
                    f"{side.memory_bytes / 2**20:,.0f}",
                    f"{side.tokens_per_s / one.sides[-1].tokens_per_s:.2f}x" if len(one.sides) > 1 else "-",
                ]
            )
    return table(header, rows)


def op_table(estimates: Sequence[Estimate], most: int = 12) -> list[str]:
    """Shares of our step's time: ops in rows, targets in columns."""
    shares = [{cost.name: cost.seconds / one.sides[0].seconds for cost in one.sides[0].ops} for one in estimates]
    names = sorted({name for one in shares for name in one}, key=lambda name: -sum(one.get(name, 0) for one in shares))
    rows = [[name, *(f"{100 * one.get(name, 0):.1f} %" for one in shares)] for name in names[:most]]
    return table(["op, share of our step", *(one.target for one in estimates)], rows)


def compile_table(estimates: Sequence[Estimate]) -> list[str]:
    rows = []
    for one in estimates:
        for side in one.sides:
            failed = [compiled for compiled in side.step.compiled if compiled.error]
            said = "; ".join(f"{compiled.kernel}: {compiled.error}" for compiled in failed) or "none"
            count = len(side.step.compiled)
            rows.append([one.architecture, side.side.name, f"{count - len(failed)} of {count}", said])
    return table(["architecture", "loop", "Triton kernels that compile", "those that do not"], rows)


if __name__ == "__main__":
    sys.exit(main())
