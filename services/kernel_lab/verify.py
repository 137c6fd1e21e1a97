"""verify: is a kernel right? Forward and gradients, odd sizes, every precision, against the reference in float64.

Each size is asked twice with fresh random inputs, first at a new address, then other numbers at that same address, so
that nothing remembered can be right. One size more is the lab's secret. Verdict and evidence: one Trace for each size
and precision, until one fails.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace

import torch

from kernels import catalog
from kernels.correctness import (
    TORCH_DTYPES,
    Results,
    Truth,
    expected_layout,
    forward_backward,
    interpreted,
    judge,
    torch_cotangents,
    torch_inputs,
    truth_of,
)
from kernels.inputs import dtype_of, random_cotangents, random_inputs
from kernels.records import Correctness, Definition, DType, ScalarInput, Status, Trace, Workload
from services.kernel_lab.candidate import CandidateProcess, Failure, Limits, Sizes, secret_random, secret_shift
from services.kernel_lab.desk import Desk, passed
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.messages import Between
from services.kernel_lab.placement import DTYPES, Layout
from services.kernel_lab.source_rules import find_breach_with_imports
from services.kernel_lab.subject import Subject
from services.kernel_lab.surroundings import Surroundings
from services.kernel_lab.trace import trace_of
from shared.kernel_lab.job import LabAnswer, Verify

DRAWS = 20_000
"""of sizes, until one meets an op's constraints"""


@dataclass(frozen=True)
class Case:
    """One set of inputs with what is right and what the plain framework makes of it."""

    inputs: Mapping[str, torch.Tensor | int | float]
    cotangents: Mapping[str, torch.Tensor]
    plain: Results
    truth: Truth


def answer(order: Verify, desk: Desk) -> LabAnswer:
    subject = desk.subject(order.candidate)
    with desk.place_for(subject.language, order.device) as around:
        traces = verify(subject, around, Limits(order.limit_s, order.memory_mb), quick=order.quick, say=desk.say)
    last = traces[-1].evaluation
    is_passed = last.status is Status.PASSED
    where = f"{len(traces)} sizes and precisions" if is_passed else traces[-1].workload.uuid
    said = LabAnswer(
        command=order.command,
        status=passed(is_passed),
        headline=f"{subject.name}: {last.status} on {around.hardware_key}, {where}{': ' if last.log else ''}{last.log}",
        lines=tuple(map(_line, traces)),
        data={"status": last.status, "traces": [one.model_dump(mode="json") for one in traces]},
    )
    event = desk.note(
        EventKind.VERIFY, subject, around.hardware_key, said, traces=traces, quick=order.quick,
        interpreted=around.interprets(subject.language),
    )  # fmt: skip
    return said.model_copy(update={"data": {**said.data, "evidence": event.id}})


def _line(one: Trace) -> str:
    found = one.evaluation.correctness
    used = max(found.details.values(), default=0.0) if found else 0.0
    detail = f"{used:.0%} of the allowed error, at {found.worst}" if found else one.evaluation.log
    return f"- {one.workload.uuid}: {one.evaluation.status}, {detail}"


def draw_case(
    of: Definition, workload: Workload, reference: Callable, device: str, *, transposed: bool = False
) -> Case:
    """transposed: inputs, weights too, and what gradients come in with lie the other way round in memory, as a view of
    somebody else's result or a tied weight may."""
    random = secret_random()
    inputs = torch_inputs(of, random_inputs(of, workload, random), workload.precision, device)
    cotangents = torch_cotangents(of, random_cotangents(of, workload, random), workload.precision, device)
    if transposed:
        views = [name for name, spec in of.inputs.items() if spec.dtype is not DType.INT64]
        inputs = {name: turned(x) if name in views else x for name, x in inputs.items()}
        cotangents = {name: turned(dy) for name, dy in cotangents.items()}  # type: ignore[misc]
    plain = forward_backward(reference, of, inputs, cotangents)
    return Case(inputs, cotangents, plain, truth_of(reference, of, workload, inputs, cotangents))


def turned(x: torch.Tensor | int | float) -> torch.Tensor | int | float:
    """The same numbers, the last two axes the other way round in memory."""
    if not isinstance(x, torch.Tensor) or x.dim() < 2:
        return x
    return x.detach().mT.contiguous().mT.requires_grad_(x.requires_grad)


def verify(
    subject: Subject,
    surroundings: Surroundings,
    limits: Limits,
    *,
    quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Trace]:
    """The traces, the last of which is the verdict: it failed, or all passed."""
    workloads = catalog.workloads(subject.definition, "test")
    if quick:
        workloads = workloads[: len(subject.definition.precisions)]
    else:
        workloads += secret_size(subject.definition)
    if breach := find_breach_with_imports(subject.path.read_bytes(), subject.op):
        return [trace_of(subject, workloads[0], surroundings, Status.REWARD_HACK, breach)]
    traces: list[Trace] = []
    try:
        with ExitStack() as stack:
            plain = stack.enter_context(open_plain(subject, workloads, surroundings, limits))
            process = stack.enter_context(open_candidate(subject, workloads, surroundings, limits))
            for number, workload in enumerate(workloads, 1):
                say(f"{subject.name}: size and precision {number} of {len(workloads)}")
                traces.append(_evaluated(process, plain, subject, workload, surroundings))
                if traces[-1].evaluation.status is not Status.PASSED:
                    break
    except Failure as failure:
        traces.append(trace_of(subject, workloads[0], surroundings, failure.status, failure.reason))
    return traces


def secret_size(of: Definition) -> list[Workload]:
    """A size that nobody knows, in every precision: every axis drawn around the last size's, and every number that a
    recipe gives. A kernel may know neither in which sizes it is asked nor with which numbers."""
    axes = draw_axes(of)
    return [_with_other_numbers(of, catalog.workload(of, axes, precision)) for precision in of.precisions]


def draw_axes(of: Definition) -> dict[str, int]:
    """No length is one that the definition names, if its constraints leave another; else at least not all of them."""
    for lengths_of in (_unknown_lengths, _all_lengths):
        choices = {axis: lengths_of(of, axis) for axis in of.test_axes[-1]}
        for _ in range(DRAWS):
            axes = {axis: secrets.choice(lengths) for axis, lengths in choices.items()}
            with suppress(ValueError):
                of.check(axes)
                return axes
    return dict(of.test_axes[-1])


def _unknown_lengths(of: Definition, axis: str) -> list[int]:
    length = of.test_axes[-1][axis]
    known = {axes[axis] for axes in (*of.test_axes, *of.bench_axes)}
    return [number for number in range(max(2, length // 2), length + length // 4 + 8) if number not in known]


def _all_lengths(of: Definition, axis: str) -> list[int]:
    return [*range(1, 4 * of.test_axes[-1][axis] + 1)]


def _with_other_numbers(of: Definition, workload: Workload) -> Workload:
    """What the definition gives as one number is moved by up to a quarter; lengths follow their axes."""
    moved = {
        name: ScalarInput(value=spec.value * (0.75 + secrets.randbelow(1 << 20) / (1 << 21)))
        for name, spec in of.inputs.items()
        if spec.value is not None
    }
    return workload.model_copy(update={"inputs": workload.inputs | moved})


def open_candidate(
    subject: Subject, workloads: list[Workload], surroundings: Surroundings, limits: Limits
) -> CandidateProcess:
    return CandidateProcess(
        subject.path,
        subject.function,
        subject.definition,
        device=surroundings.device,
        work=surroundings.work,
        limits=limits,
        sizes=buffer_sizes(subject.definition, workloads),
        framework=subject.framework,
        interpreted=surroundings.interprets(subject.language),
    )


def open_plain(
    subject: Subject, workloads: list[Workload], surroundings: Surroundings, limits: Limits
) -> AbstractContextManager[CandidateProcess | None]:
    """The reference in the candidate's own framework, where that is not PyTorch: its error is what is allowed twice."""
    if subject.framework == "torch":
        return nullcontext()
    of = subject.definition
    return CandidateProcess(
        catalog.folder(of.name) / of.reference["mlx"].split("::")[0],
        catalog.entry_of(of, "mlx"),
        of,
        device=surroundings.device,
        work=surroundings.work / "plain",
        limits=limits,
        sizes=buffer_sizes(of, workloads),
        framework="mlx",
    )


def buffer_sizes(of: Definition, workloads: list[Workload]) -> Sizes:
    """Of the largest workload. Cotangents lie beside the inputs."""
    inputs, results = 0, 0
    for workload in workloads:
        layout = expected_layout(of, workload)
        results_here = {name: (one.shape, one.dtype) for name, one in layout.items()}
        outputs = [item for name, item in results_here.items() if name.startswith("output")]
        given = [_spec(of, workload, name) for name, spec in of.inputs.items() if spec.shape is not None]
        inputs = max(inputs, _num_bytes([*given, *outputs]))
        results = max(results, _num_bytes(list(results_here.values())))
    return Sizes(inputs, results)


def _spec(of: Definition, workload: Workload, name: str) -> tuple[tuple[int, ...], torch.dtype]:
    sizes, spec = of.sizes(workload.axes), of.inputs[name]
    return tuple(sizes[axis] for axis in spec.shape or ()), TORCH_DTYPES[dtype_of(spec, workload.precision)]


def _num_bytes(items: list[tuple[tuple[int, ...], torch.dtype]]) -> int:
    return Layout(tuple((str(number), DTYPES[dtype], shape) for number, (shape, dtype) in enumerate(items))).num_bytes


def _evaluated(
    process: CandidateProcess,
    plain: CandidateProcess | None,
    subject: Subject,
    workload: Workload,
    around: Surroundings,
) -> Trace:
    try:
        status, reason, correctness = max(_rounds(process, plain, subject, workload, around), key=_badness)
    except Failure as failure:
        status, reason, correctness = failure.status, failure.reason, None
    return trace_of(subject, workload, around, status, reason, correctness)


Verdict = tuple[Status, str, Correctness | None]


def _badness(verdict: Verdict) -> tuple[bool, float]:
    status, _, correctness = verdict
    return status is not Status.PASSED, max(correctness.details.values(), default=0.0) if correctness else 0.0


def _rounds(
    process: CandidateProcess,
    plain: CandidateProcess | None,
    subject: Subject,
    workload: Workload,
    around: Surroundings,
) -> Iterator[Verdict]:
    reference = catalog.load_reference(subject.op, "torch")
    shift = secret_shift()
    for again in (False, True):
        place, views = shift, again and subject.framework == "torch"
        case = draw_case(subject.definition, workload, reference, around.reference_device, transposed=views)
        if plain is not None:
            case = replace(case, plain=plain.run(case.inputs, case.cotangents, case.plain, place))
        found = process.run(case.inputs, case.cotangents, case.plain, place, between_of(subject, again))
        of = subject.definition
        tolerance = interpreted(of.tolerance) if around.interprets(subject.language) else of.tolerance
        yield compare(of.model_copy(update={"tolerance": tolerance}), workload, found, case)


def between_of(subject: Subject, again: bool) -> Between:
    """MLX computes gradients with its forward, so nothing comes between them."""
    if subject.framework != "torch" or subject.definition.backward_follows:
        return "nothing"
    return "a forward" if again else "a whole call"


def compare(of: Definition, workload: Workload, found: Results, case: Case) -> Verdict:
    """NaN never passes. All on the host."""
    plain, right = ({name: x.cpu() for name, x in results.items()} for results in (case.plain, case.truth.results))
    return judge(found, plain, replace(case.truth, results=right), expected_layout(of, workload), of.tolerance)
