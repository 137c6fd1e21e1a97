"""trace-profile: where a trace's time goes, by family and by kernel. On a CPU operators stand in for kernels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.kernel_lab.desk import Desk
from services.kernel_lab.families import TO_CATALOG, family_of
from services.kernel_lab.trace_events import TraceEvents, read_trace, self_times
from shared.kernel_lab.job import LabAnswer, LabStatus, TraceProfile


@dataclass(frozen=True)
class Row:
    name: str
    family: str
    microseconds: float
    calls: int


def answer(order: TraceProfile, desk: Desk) -> LabAnswer:
    events = read_trace(order.trace)
    return profile_answer(order.command, events, order.top_k, trace=str(order.trace))


def profile_answer(command: str, events: TraceEvents, top_k: int, **more: Any) -> LabAnswer:
    rows = kernel_rows(events)
    total = sum(row.microseconds for row in rows)
    if not total:
        said = "no kernel and no operator takes time in this trace: record it with torch.profiler around whole steps"
        return LabAnswer(command=command, status=LabStatus.INSUFFICIENT_TRACE_DATA, headline=said)
    families = by_family(rows)
    where = "on the device" if events.has_device else "of operators on the CPU"
    first = families[0]
    return LabAnswer(
        command=command,
        status=LabStatus.OK,
        headline=f"{total / 1000:.2f} ms {where}, {sum(row.calls for row in rows)} calls; most in {first['family']}, "
        f"{first['share']:.0%}",
        lines=(*map(_family_line, families), "", *(_row_line(row, total) for row in rows[:top_k])),
        data={
            "kind": "device" if events.has_device else "cpu",
            "total_us": total,
            "families": families,
            "kernels": [{**vars(row), "share": row.microseconds / total} for row in rows[:top_k]],
            **more,
        },
    )


def kernel_rows(events: TraceEvents) -> list[Row]:
    """Longest first."""
    if not events.has_device:
        times = self_times(events.operators)
        return _sorted(Row(name, family_of(name), seconds, calls) for name, (seconds, calls) in times.items())
    totals: dict[str, tuple[float, int]] = {}
    for one in events.activities:
        seconds, calls = totals.get(one.name, (0.0, 0))
        totals[one.name] = seconds + one.duration, calls + 1
    return _sorted(Row(name, family_of(name), seconds, calls) for name, (seconds, calls) in totals.items())


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row.microseconds)


def by_family(rows: list[Row]) -> list[dict[str, Any]]:
    """Largest share first, each with the family of kernels/ that could help."""
    total = sum(row.microseconds for row in rows)
    found: dict[str, tuple[float, int]] = {}
    for row in rows:
        seconds, calls = found.get(row.family, (0.0, 0))
        found[row.family] = seconds + row.microseconds, calls + row.calls
    families = [
        {
            "family": family,
            "catalog_family": TO_CATALOG.get(family),
            "microseconds": seconds,
            "share": seconds / total if total else 0.0,
            "calls": calls,
        }
        for family, (seconds, calls) in found.items()
    ]
    return sorted(families, key=lambda one: -float(one["microseconds"]))


def _family_line(one: dict[str, Any]) -> str:
    return f"- {one['family']}: {one['share']:.1%}, {one['microseconds'] / 1000:.3f} ms in {one['calls']} calls"


def _row_line(row: Row, total: float) -> str:
    return f"    {row.microseconds / total:6.1%}  {row.calls:6d}x  {row.name[:100]}"
