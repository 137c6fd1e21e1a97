"""auto-review: what holds a trace's steps up, from the gaps between what ran on the device.

A gap is the host's when the next kernel was launched only after the one before had ended, and a wait's when the host
had been waiting for the device until then; otherwise the device itself needed the time.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.kernel_lab.desk import Desk
from services.kernel_lab.trace_events import Activity, TraceEvents, read_trace
from services.kernel_lab.trace_profile import by_family, kernel_rows
from shared.kernel_lab.job import AutoReview, LabAnswer, LabStatus

FEWEST_ACTIVITIES = 10
FEWEST_LAUNCHES = 0.5
"""of the kernels, with a launch that can be found"""
IDLE, COPIES, BUSY = 0.25, 0.25, 0.85
"""shares of the time from the first to the last activity: idle for the host's sake, copying, computing"""
ADVICE = {
    "launch-bound": "the device waits for launches: compile, replay CUDA graphs (--set compile=graphs), fuse kernels",
    "sync-bound": "the host waits for the device and launches late: find what reads values in each step (.item())",
    "copy-bound": "copies between host and device take the time: keep data on the device, send it once",
    "kernel-dominated": "the kernels themselves take the time: start with the family that has the largest share",
    "mixed": "no single cause: start with the largest of the shares",
}


@dataclass(frozen=True)
class Shares:
    """Of the time from the first to the last activity."""

    computing: float
    copying: float
    idle_launch: float
    idle_sync: float
    idle_device: float

    @property
    def verdict(self) -> str:
        if self.copying >= COPIES:
            return "copy-bound"
        if self.idle_launch + self.idle_sync >= IDLE:
            return "sync-bound" if self.idle_sync > self.idle_launch else "launch-bound"
        return "kernel-dominated" if self.computing >= BUSY else "mixed"


def answer(order: AutoReview, desk: Desk) -> LabAnswer:
    return review(read_trace(order.trace), order.command)


def review(events: TraceEvents, command: str) -> LabAnswer:
    if missing := what_is_missing(events):
        return LabAnswer(command=command, status=LabStatus.INSUFFICIENT_TRACE_DATA, headline=missing)
    shares = shares_of(events)
    rows = kernel_rows(events)
    families = by_family(rows)
    said = {name.replace("_", " "): f"{value:.0%}" for name, value in vars(shares).items()}
    return LabAnswer(
        command=command,
        status=LabStatus.OK,
        headline=f"{shares.verdict}: {ADVICE[shares.verdict]}",
        lines=(*(f"- {name}: {value}" for name, value in said.items()), f"- largest family: {families[0]['family']}"),
        data={"verdict": shares.verdict, "shares": vars(shares), "families": families, **_counts(events)},
    )


def what_is_missing(events: TraceEvents) -> str:
    if not events.has_device:
        return "nothing of a device is in this trace: gaps are judged where CUDA was profiled; trace-profile reads it"
    if len(events.activities) < FEWEST_ACTIVITIES:
        return f"{len(events.activities)} activities are too few to judge gaps by: record whole steps"
    if not any(one.duration for one in events.activities):
        return "no time passes in this trace: record whole steps"
    launched = sum(one.correlation in events.launches for one in events.activities)
    if launched < FEWEST_LAUNCHES * len(events.activities):
        return "most launches are missing, so nobody can say whose the gaps are: record with activities CPU and CUDA"
    return ""


def shares_of(events: TraceEvents) -> Shares:
    """Everything on any stream counts as busy."""
    merged = _merged(events.activities)
    span = merged[-1][1] - merged[0][0]
    computing = _length(_merged([one for one in events.activities if one.kind == "kernel"]))
    busy = _length(merged)
    idle = {"launch": 0.0, "sync": 0.0, "device": 0.0}
    first_of = {one.start: one for one in reversed(events.activities)}
    for (_, ended), (begins, _) in pairwise(merged):
        idle[_whose(events, ended, first_of[begins])] += begins - ended
    return Shares(
        computing=computing / span,
        copying=(busy - computing) / span,
        idle_launch=idle["launch"] / span,
        idle_sync=idle["sync"] / span,
        idle_device=idle["device"] / span,
    )


def _whose(events: TraceEvents, ended: float, following: Activity) -> str:
    launch = events.launches.get(following.correlation) if following.correlation is not None else None
    if launch is None or launch.start <= ended:
        return "device"
    first = bisect_left(events.waits, ended, key=lambda wait: wait.end)
    waited = first < len(events.waits) and events.waits[first].start < launch.start
    return "sync" if waited and events.waits[first].end <= launch.start else "launch"


def _merged(activities: list[Activity]) -> list[tuple[float, float]]:
    """Times at which anything ran."""
    merged: list[tuple[float, float]] = []
    for one in activities:
        if merged and one.start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], one.end)
        else:
            merged.append((one.start, one.end))
    return merged


def _length(intervals: list[tuple[float, float]]) -> float:
    return sum(end - start for start, end in intervals)


def _counts(events: TraceEvents) -> dict[str, Any]:
    return {"activities": len(events.activities), "steps": len(events.steps), "waits": len(events.waits)}
