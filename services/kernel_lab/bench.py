"""bench: is a kernel faster? Candidate and plain op in processes of their own, alternating, as they are and inside
torch.compile, against the least time the device could need.

What is timed is checked: calls drawn in secret are compared with the reference, and who is faster than the device's
limit is a REWARD_HACK. The definition's first size decides; the others are timed in few rounds, to be checked as well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from time import monotonic
from typing import Any

from kernels import catalog
from kernels.records import DType, Performance, Status, Trace, Workload
from services.kernel_lab.candidate import Failure
from services.kernel_lab.desk import Desk, passed
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.limits import DeviceLimit, device_limit, work_of
from services.kernel_lab.match import Bout, Match, processes_for
from services.kernel_lab.source_rules import find_breach_with_imports
from services.kernel_lab.subject import Subject
from services.kernel_lab.surroundings import Missing, Surroundings
from services.kernel_lab.trace import trace_of
from shared.kernel_lab.job import Bench, LabAnswer
from shared.machine.device import Device

CPU_TOKENS = 1024
"""the first axis of a size made for a GPU is cut to this where the device is the CPU"""
FURTHER_ROUNDS = 5
"""pairs in each size after the first"""


def answer(order: Bench, desk: Desk) -> LabAnswer:
    subject = desk.subject(order.candidate)
    with desk.place_for(subject.language, order.device) as around:
        if subject.framework == "mlx":
            raise Missing("missing-runtime", "the lab times PyTorch and Triton; kernels in MLX: lab integration-ab")
        if around.interprets(subject.language):
            raise Missing(
                "missing-runtime", "on a CPU Triton is interpreted, which says nothing of speed: bench needs a GPU"
            )
        workloads, cut = pick_workloads(subject, around, order.axes)
        measured = measure(subject, workloads, around, order, desk.say)
    late = workloads[len(measured) :] if measured[-1].trace.evaluation.status is Status.PASSED else ()
    said = _answer(order, subject, around, measured, cut, late)
    event = desk.note(
        EventKind.BENCH, subject, around.hardware_key, said,
        traces=[one.trace for one in measured], bouts=said.data["bouts"], further=said.data["further"],
        chosen=is_chosen(order) or bool(late),
    )  # fmt: skip
    return said.model_copy(update={"data": {**said.data, "evidence": event.id}})


def is_chosen(order: Bench) -> bool:
    """Whether somebody said in which size, or without which opponent: then it is no evidence for a promotion."""
    return order.axes is not None or order.against == "eager"


def pick_workloads(
    subject: Subject, around: Surroundings, axes: dict[str, int] | None
) -> tuple[tuple[Workload, ...], str]:
    """The definition's sizes, in the first precision that the device computes natively; and what was cut of them."""
    of, on_cpu = subject.definition, Device.parse(around.device).is_cpu
    precision = DType.FLOAT32 if on_cpu and DType.FLOAT32 in of.precisions else of.precisions[0]
    if axes is not None:
        if set(axes) != set(of.bench_axes[0]):
            raise ValueError(f"--axes: {of.name} needs {','.join(f'{name}=...' for name in of.bench_axes[0])}")
        return (catalog.workload(of, axes, precision),), ""
    first = next(iter(of.bench_axes[0]))
    longest = max(one[first] for one in of.bench_axes)
    cut = on_cpu and longest > CPU_TOKENS
    sizes = [one | {first: min(one[first], CPU_TOKENS)} if cut else one for one in of.bench_axes]
    said = f"{first} cut from {longest} to {CPU_TOKENS}, because the device is a CPU" if cut else ""
    return tuple(catalog.workload(of, one, precision) for n, one in enumerate(sizes) if one not in sizes[:n]), said


@dataclass(frozen=True)
class Measured:
    trace: Trace
    bouts: tuple[Bout, ...]
    limit: DeviceLimit
    left_out: tuple[str, ...]
    rounds: int = 0
    fewer_than: int = 0
    """rounds that were asked for; 0: all of them were made"""


def measure(
    subject: Subject,
    workloads: Sequence[Workload],
    around: Surroundings,
    order: Bench,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Measured, ...]:
    """Of each size, until it fails in one or the time is over. The same processes serve all of them."""
    say(f"{subject.name}: what the plain op needs")
    reference = catalog.load_reference(subject.op, "torch")
    limits = [device_limit(work_of(subject.definition, one, reference), around.hardware) for one in workloads]
    modes, left_out = modes_here(order.against, around)
    found: list[Measured] = []
    try:
        if breach := find_breach_with_imports(subject.path.read_bytes(), subject.op):
            raise Failure(Status.REWARD_HACK, breach)
        matches = _matches(subject, workloads, around, order)
        with processes_for(matches, modes) as processes:
            for match, limit, deadline in zip(matches, limits, deadlines(matches, order), strict=True):
                if found and monotonic() > deadline:
                    break
                bouts, correctness = match.play(limit, processes, deadline, say)
                performance = _performance(bouts, limit) if bouts else None
                trace = trace_of(subject, match.workload, around, Status.PASSED, "", correctness, performance)
                fewer_than = match.order.rounds if match.rounds < match.order.rounds else 0
                found.append(Measured(trace, bouts, limit, left_out, match.rounds, fewer_than))
    except Failure as failure:
        number = len(found)
        trace = trace_of(subject, workloads[number], around, failure.status, failure.reason)
        found.append(Measured(trace, (), limits[number], left_out))
    return tuple(found)


def _matches(subject: Subject, workloads: Sequence[Workload], around: Surroundings, order: Bench) -> list[Match]:
    few = order.model_copy(update={"rounds": min(order.rounds, FURTHER_ROUNDS)})
    matches: list[Match] = []
    for workload in workloads:
        first_slot = sum(one.slots.count for one in matches)
        matches.append(Match(subject, workload, around, few if matches else order, first_slot))
    return matches


def deadlines(matches: Sequence[Match], order: Bench) -> Iterator[float]:
    """When each size should have ended: each has its part of the time, by its rounds, and what one leaves is for the
    next."""
    began, asked, until = monotonic(), sum(one.order.rounds for one in matches), 0
    for one in matches:
        until += one.order.rounds
        yield began + 60 * order.minutes * until / asked


def modes_here(against: str, around: Surroundings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which comparisons can be made, and why others cannot."""
    asked = ("eager", "compiled") if against == "both" else (against,)
    if "compiled" in asked and Device.parse(around.device).is_cuda and find_spec("triton") is None:
        return tuple(one for one in asked if one != "compiled"), ("compiled: Triton is not installed",)
    return asked, ()


def _performance(bouts: tuple[Bout, ...], limit: DeviceLimit) -> Performance:
    """Of the last comparison: inside torch.compile, where that was measured, as the trainer runs it."""
    last = bouts[-1]
    details = {f"{one.mode} speedup {end}": value for one in bouts for end, value in one.speedup.as_data().items()}
    if limit.honest_s:
        details["fraction of the device's limit"] = limit.honest_s / last.candidate.value
    return Performance(
        latency_ms=1e3 * last.candidate.value,
        reference_latency_ms=1e3 * last.reference.value,
        speedup_factor=last.speedup.value,
        details=details,
    )


def _answer(
    order: Bench, subject: Subject, around: Surroundings, measured: tuple[Measured, ...], cut: str,
    late: Sequence[Workload] = (),
) -> LabAnswer:  # fmt: skip
    """late: sizes for which there was no time."""
    first, last = measured[0], measured[-1]
    unknown = (*_unknown(first, cut), *_short_of_time(order, measured, late))
    evaluation = last.trace.evaluation
    is_passed = evaluation.status is Status.PASSED
    said = "; ".join(f"{one.verdict} {one.mode}, {one.speedup.value:.2f}x" for one in first.bouts)
    if not is_passed:
        said = f"{evaluation.status}: {evaluation.log} ({last.trace.workload.uuid})"
    return LabAnswer(
        command=order.command,
        status=passed(is_passed),
        headline=f"{subject.name} on {around.hardware_key}: {said}",
        lines=(*(_line(bout, one) for one in measured for bout in one.bouts), *unknown),
        data={
            "status": evaluation.status,
            "workload": first.trace.workload.uuid,
            "bouts": {one.mode: _data(one) for one in first.bouts} if is_passed else {},
            "further": {
                one.trace.workload.uuid: {bout.mode: _data(bout) for bout in one.bouts} for one in measured[1:]
            },
            "limit_s": first.limit.honest_s,
            "trace": (first if is_passed else last).trace.model_dump(mode="json"),
            "not_known": [*unknown],
        },
    )


def _line(bout: Bout, measured: Measured) -> str:
    times = f"{1e3 * bout.candidate.value:.4f} ms, plain {1e3 * bout.reference.value:.4f} ms"
    times += f", {1e3 * bout.taken_off_s:.4f} ms taken off"
    where = f"{measured.trace.workload.uuid}, {bout.mode}"
    return f"- {where}: {times}, speed-up {bout.speedup}: {bout.verdict}"


def _data(bout: Bout) -> dict[str, Any]:
    return {
        "verdict": bout.verdict,
        "candidate_s": bout.candidate.as_data(),
        "reference_s": bout.reference.as_data(),
        "speedup": bout.speedup.as_data(),
        "taken_off_s": bout.taken_off_s,
    }


def _unknown(measured: Measured, cut: str) -> tuple[str, ...]:
    """What this machine could not say."""
    said = [f"- size: {cut}"] if cut else []
    said += [f"- not measured: {one}" for one in measured.left_out]
    if measured.limit.honest_s is None:
        said.append(f"- the device's limit is not known, so nobody can be too fast for it: {measured.limit.reason}")
    return tuple(said)


def _short_of_time(order: Bench, measured: tuple[Measured, ...], late: Sequence[Workload]) -> Iterator[str]:
    limit = f"to end in about {order.minutes:g} minutes (--minutes)"
    for one in measured:
        if one.fewer_than:
            yield f"- {one.trace.workload.uuid}: {one.rounds} of {one.fewer_than} rounds, {limit}"
    if late:
        names = ", ".join(one.uuid for one in late)
        yield f"- not measured: {names}, {limit}; so this counts for no promotion"
