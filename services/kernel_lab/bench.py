"""bench: is a kernel faster? Candidate and plain op in processes of their own, alternating, as they are and inside
torch.compile, against the least time the device could need.

What is timed is checked: calls drawn in secret are compared with the reference, and who is faster than the device's
limit is a REWARD_HACK.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from kernels import catalog
from kernels.records import DType, Performance, Status, Trace, Workload
from services.kernel_lab.candidate import Failure
from services.kernel_lab.desk import Desk, passed
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.limits import DeviceLimit, device_limit, work_of
from services.kernel_lab.match import Bout, Match
from services.kernel_lab.source_rules import find_breach
from services.kernel_lab.subject import Subject
from services.kernel_lab.surroundings import Missing, Surroundings
from services.kernel_lab.trace import trace_of
from shared.kernel_lab.job import Bench, LabAnswer
from shared.machine.device import Device

CPU_TOKENS = 1024
"""the first axis of a size made for a GPU is cut to this where the device is the CPU"""


def answer(order: Bench, desk: Desk) -> LabAnswer:
    subject = desk.subject(order.candidate)
    with desk.place_for(subject.language, order.device) as around:
        if subject.framework == "mlx":
            raise Missing("missing-runtime", "the lab times PyTorch and Triton; kernels in MLX: lab integration-ab")
        if around.interprets(subject.language):
            raise Missing(
                "missing-runtime", "on a CPU Triton is interpreted, which says nothing of speed: bench needs a GPU"
            )
        workload, cut = pick_workload(subject, around, order.axes)
        measured = measure(subject, workload, around, order)
    said = _answer(order, subject, around, measured, cut)
    event = desk.note(
        EventKind.BENCH, subject, around.hardware_key, said,
        traces=[measured.trace], bouts=said.data.get("bouts", {}), chosen=is_chosen(order),
    )  # fmt: skip
    return said.model_copy(update={"data": {**said.data, "evidence": event.id}})


def is_chosen(order: Bench) -> bool:
    """Whether somebody said in which size, or without which opponent: then it is no evidence for a promotion."""
    return order.axes is not None or order.against == "eager"


def pick_workload(subject: Subject, around: Surroundings, axes: dict[str, int] | None) -> tuple[Workload, str]:
    """The definition's first size, in the first precision that the device computes natively; and what was cut of it."""
    of, on_cpu = subject.definition, Device.parse(around.device).is_cpu
    precision = DType.FLOAT32 if on_cpu and DType.FLOAT32 in of.precisions else of.precisions[0]
    if axes is not None:
        if set(axes) != set(of.bench_axes[0]):
            raise ValueError(f"--axes: {of.name} needs {','.join(f'{name}=...' for name in of.bench_axes[0])}")
        return catalog.workload(of, axes, precision), ""
    full = of.bench_axes[0]
    first = next(iter(full))
    if not on_cpu or full[first] <= CPU_TOKENS:
        return catalog.workload(of, full, precision), ""
    cut = f"{first} cut from {full[first]} to {CPU_TOKENS}, because the device is a CPU"
    return catalog.workload(of, full | {first: CPU_TOKENS}, precision), cut


@dataclass(frozen=True)
class Measured:
    trace: Trace
    bouts: tuple[Bout, ...]
    limit: DeviceLimit
    left_out: tuple[str, ...]


def measure(subject: Subject, workload: Workload, around: Surroundings, order: Bench) -> Measured:
    reference = catalog.load_reference(subject.op, "torch")
    limit = device_limit(work_of(subject.definition, workload, reference), around.hardware)
    modes, left_out = modes_here(order.against, around)
    try:
        if breach := find_breach(subject.path.read_bytes()):
            raise Failure(Status.REWARD_HACK, breach)
        bouts, correctness = Match(subject, workload, around, order, modes).play(limit)
    except Failure as failure:
        return Measured(trace_of(subject, workload, around, failure.status, failure.reason), (), limit, left_out)
    performance = _performance(bouts, limit) if bouts else None
    trace = trace_of(subject, workload, around, Status.PASSED, "", correctness, performance)
    return Measured(trace, bouts, limit, left_out)


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


def _answer(order: Bench, subject: Subject, around: Surroundings, measured: Measured, cut: str) -> LabAnswer:
    evaluation = measured.trace.evaluation
    is_passed = evaluation.status is Status.PASSED
    said = "; ".join(f"{one.verdict} {one.mode}, {one.speedup.value:.2f}x" for one in measured.bouts) or evaluation.log
    return LabAnswer(
        command=order.command,
        status=passed(is_passed),
        headline=f"{subject.name} on {around.hardware_key}: {'' if is_passed else f'{evaluation.status}: '}{said}",
        lines=(*map(_line, measured.bouts), *_unknown(measured, cut)),
        data={
            "status": evaluation.status,
            "workload": measured.trace.workload.uuid,
            "bouts": {one.mode: _data(one) for one in measured.bouts},
            "limit_s": measured.limit.honest_s,
            "trace": measured.trace.model_dump(mode="json"),
            "not_known": [*_unknown(measured, cut)],
        },
    )


def _line(bout: Bout) -> str:
    times = f"{1e3 * bout.candidate.value:.4f} ms, plain {1e3 * bout.reference.value:.4f} ms"
    return f"- {bout.mode}: {times}, speed-up {bout.speedup}: {bout.verdict}"


def _data(bout: Bout) -> dict[str, Any]:
    return {
        "verdict": bout.verdict,
        "candidate_s": bout.candidate.as_data(),
        "reference_s": bout.reference.as_data(),
        "speedup": bout.speedup.as_data(),
    }


def _unknown(measured: Measured, cut: str) -> tuple[str, ...]:
    """What this machine could not say."""
    said = [f"- size: {cut}"] if cut else []
    said += [f"- not measured: {one}" for one in measured.left_out]
    if measured.limit.honest_s is None:
        said.append(f"- the device's limit is not known, so nobody can be too fast for it: {measured.limit.reason}")
    return tuple(said)
