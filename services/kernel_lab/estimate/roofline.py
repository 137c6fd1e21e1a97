"""From counts to time: bytes / bandwidth + FLOPs / peak of each kernel, nothing overlapped. Imports no framework.

A launch may cost the host time as well: `launch_s` is the least time between two launches. It is 0 unless asked for,
since the published measurements cannot tell it from 0 (benchmarks/estimate_error.py, docs/performance.md).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shared.contracts import Shape
from shared.kernel_lab.estimate import Cost, KernelCount, Phase, Side, SideEstimate, StepCount
from shared.machine.gpus import Device


@dataclass(frozen=True)
class TimeModel:
    bandwidth: float
    """bytes per second"""
    peak: float
    """FLOP/s of bf16 products"""
    launch_s: float = 0.0

    def seconds(self, kernel: KernelCount) -> float:
        """Of all calls of this kernel in a step."""
        return kernel.bytes / self.bandwidth + kernel.flops / self.peak

    def step_seconds(self, step: StepCount) -> float:
        """The device's work, or the host's launches where those take longer."""
        return max(sum(map(self.seconds, step.kernels)), step.host_launches * self.launch_s)

    @property
    def words(self) -> str:
        text = f"bytes / {self.bandwidth / 1e9:g} GB/s + FLOPs / {self.peak / 1e12:g} TFLOP/s, nothing overlapped"
        return text + (f", at least {1e6 * self.launch_s:g} us for each launch" if self.launch_s else "")


def model_of(gpu: Device, launch_s: float = 0.0) -> TimeModel:
    return TimeModel(bandwidth=gpu.bandwidth, peak=gpu.peak_flops, launch_s=launch_s)


def estimate_side(side: Side, step: StepCount, shape: Shape, model: TimeModel) -> SideEstimate:
    seconds = model.step_seconds(step)
    return SideEstimate(
        side=side,
        step=step,
        tokens=shape.total_batch_size,
        seconds=seconds,
        tokens_per_s=shape.total_batch_size / seconds if seconds else 0.0,
        memory_bytes=step.peak_bytes,
        phases=tuple(grouped(step.kernels, lambda kernel: kernel.phase, model, order=tuple(Phase))),
        ops=tuple(grouped(step.kernels, lambda kernel: kernel.op, model)),
    )


def grouped(
    kernels: Iterable[KernelCount],
    key: Callable[[KernelCount], str],
    model: TimeModel,
    order: tuple[str, ...] | None = None,
) -> list[Cost]:
    """In the order given, else by time, longest first."""
    groups: dict[str, list[KernelCount]] = {}
    for kernel in kernels:
        groups.setdefault(key(kernel), []).append(kernel)
    costs = [_sum(name, members, model) for name, members in groups.items()]
    return sorted(costs, key=(lambda cost: order.index(cost.name)) if order else (lambda cost: -cost.seconds))


def _sum(name: str, kernels: list[KernelCount], model: TimeModel) -> Cost:
    return Cost(
        name=name,
        launches=sum(kernel.launches for kernel in kernels),
        bytes=sum(kernel.bytes for kernel in kernels),
        flops=sum(kernel.flops for kernel in kernels),
        seconds=sum(map(model.seconds, kernels)),
    )
