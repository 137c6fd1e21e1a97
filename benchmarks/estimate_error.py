"""How far `autoresearch lab estimate` is from what others measured: upstream's training step on GB10 and H100.

    git clone https://github.com/karpathy/autoresearch /tmp/upstream
    python -m benchmarks.estimate_error --upstream /tmp/upstream

Upstream's source is estimated as it is (benchmarks/upstream_recipe.py), at the batch sizes of the published runs, and
ours beside it. Also printed: what another model of time would have said of the same counts, so that a term is added
only where these four points ask for it. The measurements: docs/validation/gb10.md and docs/validation/h200.md.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.upstream_recipe import upstream_recipe
from services.console.estimate_request import changed_shape
from services.console.estimate_view import table
from services.kernel_lab.estimate.estimate import estimate
from services.kernel_lab.estimate.roofline import TimeModel
from shared.kernel_lab.estimate import Estimate, EstimateRequest, KernelCount, Side, SideEstimate
from shared.runs.shipped import default_recipe


@dataclass(frozen=True)
class Published:
    target: str
    preset: str
    device_batch_size: int
    total_batch_size: int
    tokens_per_s: float
    memory_mb: float

    @property
    def name(self) -> str:
        return f"{self.target} {self.preset}"


PUBLISHED = (
    Published("gb10", "m5-small", 32, 32768, 523_900, 1160),
    Published("gb10", "m5-balanced", 32, 32768, 267_200, 3590),
    Published("gb10", "m5-xlarge", 16, 32768, 146_100, 6000),
    Published("h100", "upstream", 128, 524_288, 1_665_000, 45_060),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, required=True, help="a checkout of karpathy/autoresearch")
    parser.add_argument("--keep", type=Path, help="folder of the estimates: kept there, and read again when there")
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        recipe = folder / "upstream_recipe.py"
        recipe.write_text(upstream_recipe(arguments.upstream / "train.py"), encoding="utf-8")
        theirs = [estimated(point, Side(name="upstream", recipe=recipe), folder) for point in PUBLISHED]
        print("\n".join(["", *error_table(theirs), "", *model_table(theirs)]), flush=True)
        ours = [estimated(point, Side(name="ours", recipe=default_recipe("torch")), folder) for point in PUBLISHED]
        print("\n".join(["", *ours_table(ours, theirs)]))


def estimated(point: Published, side: Side, folder: Path) -> Estimate:
    answer = folder / f"{point.target}-{point.preset}-{side.name}.json"
    if answer.exists():
        return Estimate.model_validate_json(answer.read_bytes())
    batch = {"device_batch_size": str(point.device_batch_size), "total_batch_size": str(point.total_batch_size)}
    shape = changed_shape(point.preset, batch)
    found = estimate(EstimateRequest(sides=(side,), shape=shape, target=point.target, answer=answer))
    print(f"{point.name}, {side.name}: {found.sides[0].tokens_per_s:,.0f} tok/s", flush=True)
    return found


def error_table(estimates: Sequence[Estimate]) -> list[str]:
    header = ["upstream's step", "measured tok/s", "estimated", "error", "measured MB", "estimated", "error"]
    rows = []
    for point, one in zip(PUBLISHED, estimates, strict=True):
        upstream = one.sides[0]
        memory_mb = upstream.memory_bytes / 2**20
        rows.append(
            [
                point.name,
                f"{point.tokens_per_s:,.0f}",
                f"{upstream.tokens_per_s:,.0f}",
                percent(upstream.tokens_per_s / point.tokens_per_s - 1),
                f"{point.memory_mb:,.0f}",
                f"{memory_mb:,.0f}",
                percent(memory_mb / point.memory_mb - 1),
            ]
        )
    return table(header, rows)


def ours_table(ours: Sequence[Estimate], theirs: Sequence[Estimate]) -> list[str]:
    header = [
        "",
        "bytes a token: ours",
        "upstream",
        "ratio",
        "kernels a step: ours",
        "upstream",
        "ratio",
        "tok/s: ours",
    ]
    rows = []
    for point, own, other in zip(PUBLISHED, ours, theirs, strict=True):
        (one,), (upstream,) = own.sides, other.sides
        rows.append(
            [
                point.name,
                f"{one.bytes_per_token:,.0f}",
                f"{upstream.bytes_per_token:,.0f}",
                f"{one.bytes_per_token / upstream.bytes_per_token:.2f}",
                f"{one.launches:,}",
                f"{upstream.launches:,}",
                f"{one.launches / upstream.launches:.2f}",
                f"{one.tokens_per_s:,.0f}",
            ]
        )
    return table(header, rows)


Seconds = Callable[[Estimate, SideEstimate], float]


def model_table(estimates: Sequence[Estimate]) -> list[str]:
    """Errors of other models on the same counts; the first line is the one in use."""
    models: dict[str, Seconds] = {
        "bytes / bandwidth + FLOPs / peak": lambda one, side: with_launches(one, side, 0.0),
        "the same, 1 us more for each kernel": lambda one, side: with_launches(one, side, 1e-6),
        "the same, 3 us more for each kernel": lambda one, side: with_launches(one, side, 3e-6),
        "the longer of the two, kernel by kernel": overlapped,
    }
    rows = [
        [name, *(percent(error(point, one, seconds)) for point, one in zip(PUBLISHED, estimates, strict=True))]
        for name, seconds in models.items()
    ]
    return table(["error of another model of time", *(point.name for point in PUBLISHED)], rows)


def error(point: Published, one: Estimate, seconds: Seconds) -> float:
    side = one.sides[0]
    return side.tokens / seconds(one, side) / point.tokens_per_s - 1


def time_model(one: Estimate) -> TimeModel:
    return TimeModel(bandwidth=one.bandwidth_gbs * 1e9, peak=one.peak_tflops * 1e12)


def with_launches(one: Estimate, side: SideEstimate, each_s: float) -> float:
    return time_model(one).step_seconds(side.step) + each_s * side.launches


def overlapped(one: Estimate, side: SideEstimate) -> float:
    model = time_model(one)

    def longer(kernel: KernelCount) -> float:
        return max(kernel.bytes / model.bandwidth, kernel.flops / model.peak)

    return sum(map(longer, side.step.kernels))


def percent(share: float) -> str:
    return f"{100 * share:+.1f} %"


if __name__ == "__main__":
    main()
