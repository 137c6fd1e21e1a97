"""A Kineto trace (torch.profiler's JSON, also gzipped), read into what the lab asks about: what ran on the device when,
when the host launched it, and where the host waited. The definitions of gaps are those of Holistic Trace Analysis.
"""

import gzip
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST_TRACE_BYTES = 4 << 30
DEVICE = {"kernel": "kernel", "gpu_memcpy": "copy", "gpu_memset": "copy"}
"""category in the trace: what it is to us"""
RUNTIME = ("cuda_runtime", "cuda_driver")
BLOCKING = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize", "cuStreamSynchronize",
            "cuCtxSynchronize", "cuEventSynchronize")  # fmt: skip


@dataclass(frozen=True)
class Activity:
    """On the device. Times in microseconds."""

    name: str
    kind: str
    """kernel or copy"""
    start: float
    end: float
    correlation: int | None

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class HostCall:
    """A call of the CUDA runtime, or an operator on the host."""

    name: str
    start: float
    end: float
    thread: str = ""

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass
class TraceEvents:
    activities: list[Activity] = field(default_factory=list)
    """in the order of their start"""
    launches: dict[int, HostCall] = field(default_factory=dict)
    """by correlation"""
    waits: list[HostCall] = field(default_factory=list)
    """of the host for the device"""
    operators: list[HostCall] = field(default_factory=list)
    steps: list[HostCall] = field(default_factory=list)

    @property
    def has_device(self) -> bool:
        return bool(self.activities)


def read_trace(path: Path) -> TraceEvents:
    """ValueError, in one line, for what is no such trace."""
    events = _raw(path).get("traceEvents")
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise ValueError(f"{path} is no trace of torch.profiler: it has no list 'traceEvents'")
    found = TraceEvents()
    for event in events:
        if event.get("ph") == "X":
            _take(found, event, path)
    found.activities.sort(key=lambda one: one.start)
    found.waits.sort(key=lambda one: one.end)
    return found


def _raw(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_TRACE_BYTES:
            raise ValueError(f"{path} is larger than {LARGEST_TRACE_BYTES >> 30} GiB: record fewer steps")
        content = path.read_bytes()
        raw = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: autoresearch lab profile --output {path} records one") from None
    except (json.JSONDecodeError, UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error, RecursionError):
        raise ValueError(f"{path} is no whole JSON document: record the trace again") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is no trace of torch.profiler: it holds a {type(raw).__name__}")
    return raw


def _take(found: TraceEvents, event: dict[str, Any], path: Path) -> None:
    try:
        start, duration = float(event["ts"]), float(event.get("dur", 0))
        category, name = str(event.get("cat", "")), str(event["name"])
        arguments = event.get("args") or {}
        correlation = arguments.get("correlation")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{path} is a trace of another schema: an event lacks ts or name") from None
    call = HostCall(name, start, start + duration, str(event.get("tid", "")))
    if category in DEVICE:
        found.activities.append(Activity(name, DEVICE[category], start, start + duration, correlation))
    elif category in RUNTIME:
        if correlation is not None:
            found.launches[correlation] = call
        if name.startswith(BLOCKING):
            found.waits.append(call)
    elif category == "cpu_op":
        found.operators.append(call)
    elif category == "user_annotation" and name.startswith("ProfilerStep"):
        found.steps.append(call)


def self_times(operators: list[HostCall]) -> dict[str, tuple[float, int]]:
    """{operator: (microseconds in itself and not in operators that it called, calls)}, for a trace without a device."""
    totals: dict[str, tuple[float, int]] = {}
    for thread in {one.thread for one in operators}:
        stack: list[tuple[HostCall, float]] = []
        for one in sorted((o for o in operators if o.thread == thread), key=lambda o: (o.start, -o.end)):
            while stack and stack[-1][0].end <= one.start:
                _close(stack, totals)
            stack.append((one, 0.0))
        while stack:
            _close(stack, totals)
    return totals


def _close(stack: list[tuple[HostCall, float]], totals: dict[str, tuple[float, int]]) -> None:
    call, inside = stack.pop()
    seconds, calls = totals.get(call.name, (0.0, 0))
    totals[call.name] = (seconds + max(0.0, call.duration - inside), calls + 1)
    if stack:
        parent, already = stack.pop()
        stack.append((parent, already + call.duration))
