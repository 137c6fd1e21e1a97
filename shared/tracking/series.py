"""A run's metric points: the summary, the learning curve, telemetry of its steps, vital signs of its machine.

Series are grouped by prefix: train/, time/, recipe/ (what the recipe says of itself), curve/ and system/, which MLflow
shows on a page of its own. `val_bpb` belongs to ranked runs alone: others have `val_bpb_unranked`, so that sorting
by one of them never mixes the two.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

from shared.contracts import Job, StepRecord
from shared.machine.vitals import Vitals
from shared.tracking.run_bundle import RunBundle

MAX_POINTS = 1000
"""per series: MLflow draws 320 points, and a point costs 0.1-0.3 ms to send"""
MAX_RECIPE_SERIES = 16

STEP_SERIES = {
    "train/loss": "loss",
    "train/loss_ema": "loss_ema",
    "train/tok_per_sec": "tok_per_sec",
    "train/mfu_percent": "mfu_percent",
    "train/peak_vram_mb": "peak_vram_mb",
    "train/seconds": "train_seconds",
    "train/tokens": "tokens",
    "time/step_ms": "step_ms",
    "time/input_ms": "input_ms",
    "time/dispatch_ms": "dispatch_ms",
    "time/wait_ms": "wait_ms",
    "time/record_ms": "record_ms",
}
SUMMARY = (
    "val_bpb",
    "val_bpb_upstream",
    "training_seconds",
    "total_seconds",
    "peak_vram_mb",
    "mfu_percent",
    "total_tokens_M",
    "num_steps",
    "num_params_M",
    "tok_per_sec",
)
SCORES = ("val_bpb", "val_bpb_upstream")
UNRANKED = "_unranked"
VITALS = {
    "load_1m": "system/load_1m",
    "cpu_percent": "system/cpu_utilization_percentage",
    "cpu_mhz": "system/cpu_mhz",
    "cpu_celsius": "system/cpu_celsius",
    "memory_mb": "system/system_memory_usage_megabytes",
    "memory_percent": "system/system_memory_usage_percentage",
    "gpu_percent": "system/gpu_utilization_percentage",
    "gpu_mhz": "system/gpu_mhz",
    "gpu_celsius": "system/gpu_celsius",
    "gpu_memory_mb": "system/gpu_memory_usage_megabytes",
    "gpu_watts": "system/gpu_power_usage_watts",
}
"""in MLflow's own words where it has some"""


@dataclass(frozen=True)
class Point:
    name: str
    step: int
    value: float
    timestamp_ms: int


class Started(Protocol):
    """A run that has begun."""

    @property
    def job(self) -> Job: ...
    @property
    def started_at(self) -> float:
        """Seconds since the epoch, when job.json was written."""


def started_at_ms(run: Started) -> int:
    return round(1000 * run.started_at)


def points(bundle: RunBundle) -> Iterator[Point]:
    """Every metric point, finite ones only.

    MLflow keeps equal points once, so a step's timestamp depends on nothing that a later attempt, a resumed training
    or another scoring changes: the job's time plus training seconds.
    """
    return filter(is_finite, all_points(bundle))


def is_finite(point: Point) -> bool:
    return isfinite(point.value)


def all_points(bundle: RunBundle) -> Iterator[Point]:
    yield from _summary_points(bundle)
    yield from _curve_points(bundle)
    recipe_series = recipe_series_of(bundle.steps)[:MAX_RECIPE_SERIES]
    for step in thin(bundle.steps, MAX_POINTS):
        yield from step_points(step, started_at_ms(bundle), recipe_series)
    yield from vital_points(bundle.vitals)


def _summary_points(bundle: RunBundle) -> Iterator[Point]:
    for name in SUMMARY:
        value = getattr(bundle.result, name)
        if value is not None:
            called = _score_name(name, bundle) if name in SCORES else name
            yield Point(called, bundle.result.num_steps, float(value), round(1000 * bundle.recorded_at))


def _curve_points(bundle: RunBundle) -> Iterator[Point]:
    name = _score_name("curve/val_bpb", bundle)
    for point in bundle.evaluation.curve if bundle.evaluation else ():
        timestamp_ms = started_at_ms(bundle) + round(1000 * point.train_seconds)
        yield Point(name, point.step, point.val_bpb, timestamp_ms)


def _score_name(name: str, bundle: RunBundle) -> str:
    return name if bundle.result.ranked else f"{name}{UNRANKED}"


def step_points(record: StepRecord, started_ms: int, recipe_series: Sequence[str]) -> Iterator[Point]:
    timestamp_ms = started_ms + round(1000 * record.train_seconds)
    for name, field in STEP_SERIES.items():
        value = getattr(record, field)
        if value is not None:
            yield Point(name, record.step, float(value), timestamp_ms)
    for name in recipe_series:
        if name in record.recipe:
            yield Point(f"recipe/{_safe_name(name)}", record.step, record.recipe[name], timestamp_ms)


def recipe_series_of(steps: Iterable[StepRecord]) -> list[str]:
    """Names the recipe reports, in the order they first appear."""
    return list(dict.fromkeys(name for step in steps for name in step.recipe))


def _safe_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100].strip(".") or "unnamed"


def thin(steps: Sequence[StepRecord], limit: int) -> Sequence[StepRecord]:
    """At most `limit` evenly spaced steps, the first and the last among them."""
    if len(steps) <= limit:
        return steps
    last = len(steps) - 1
    return [steps[index * last // (limit - 1)] for index in range(limit)]


def vital_points(vitals: Sequence[Vitals], first: int = 0) -> Iterator[Point]:
    """`first` is the number of the first look in the run's file."""
    for number, looked in enumerate(vitals[: MAX_POINTS - first], start=first):
        for field, name in VITALS.items():
            value = getattr(looked, field)
            if value is not None:
                yield Point(name, number, float(value), round(1000 * looked.at))
