"""integration-ab and -suite: does the real trainer get faster with a kernel, and learn no worse?

Experiments in pairs, one with the kernel and one with the recipe's own function, one seed, taking turns at going first.
What they say is in comparison.py.
"""

import ast
import math
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from services.kernel_lab.comparison import SIGNIFICANT, Comparison, together
from services.kernel_lab.desk import Desk
from services.kernel_lab.ledger import Event, EventKind
from services.kernel_lab.promotions import to_try
from services.kernel_lab.states import expect_verified
from services.kernel_lab.statistics import paired
from services.kernel_lab.subject import Subject
from services.kernel_lab.surroundings import Missing
from shared.contracts import Job, Rung, RunResult, Status
from shared.experiment.presets import PRESETS
from shared.experiment.request import TrainRequest, build_job
from shared.experiment.run import run
from shared.kernel_lab.job import FEWEST_PAIRS, INTEGRATION_BUDGET_S, Integration, LabAnswer, LabStatus
from shared.machine.device import Device
from shared.machine.device_lock import device_lock

OWN = "reference"
"""asks a recipe for its own function in spite of a promotion"""
ANY_SEED = 42
"""of a job that is only looked at"""
LARGEST = "upstream"
"""opt-in: the suite does not go there by itself"""


class Tried(NamedTuple):
    """What runs use in place of the recipe's own function."""

    op: str
    kernel: str
    files: dict[str, bytes]
    """of promotions.to_try"""
    seeds: tuple[int, ...]
    """of the pairs, drawn for this comparison: no kernel can know the runs that it is judged by"""


class RunFailed(Exception):
    """A run of the pair came to no tokens/s."""

    def __init__(self, with_kernel: bool, result: RunResult):
        super().__init__(f"{result.run_id} ended {result.status}: {result.reason}")
        self.with_kernel = with_kernel


def answer(order: Integration, desk: Desk) -> LabAnswer:
    subject, around = desk.subject(order.candidate), desk.around(order.device)
    expect_verified(desk.ledger.read(), subject, around.hardware_key)
    tried, presets = Tried(subject.op, *to_try(subject), draw_seeds(order.repeats)), presets_of(order)
    for preset in presets:
        _build(order, preset, ANY_SEED)  # what was ordered wrong, or is not prepared, is no comparison
    if not _is_asked_for(tried.op, _source(order, presets[0])):
        raise _no_adapter(tried.op)
    with device_lock(around.device):
        begun = _begin(order, desk, subject, around.hardware_key)
        compared, failed = _compare_all(order, desk, tried, presets, significance(desk.ledger.read(), begun))
    if failed is None or not failed.with_kernel:
        left_out = f"the trainer fails without the kernel too: {failed}" if failed else ""
        if not compared:
            raise ValueError(left_out) from failed
        verdict = together([*(one.verdict for one in compared), *(["mixed"] if left_out else [])])
        said = _answer(order, subject, compared, verdict, left_out)
    else:
        verdict, said = "regressed", _failure(order, subject, failed)
    event = desk.note(
        EventKind.INTEGRATION, subject, around.hardware_key, said, verdict=verdict, begun=begun.id,
        comparisons=[one.as_data() for one in compared], seeds=tried.seeds, chosen=bool(why_chosen(order)),
    )  # fmt: skip
    return said.model_copy(update={"data": {**said.data, "evidence": event.id}})


def _compare_all(
    order: Integration, desk: Desk, tried: Tried, presets: Sequence[str | None], significant: float
) -> tuple[list[Comparison], RunFailed | None]:
    """Up to the first run that fails."""
    compared: list[Comparison] = []
    try:
        for preset in presets:
            compared.append(replace(compare(order, desk, tried, preset), significant=significant))
    except RunFailed as failed:
        return compared, failed
    return compared, None


def _begin(order: Integration, desk: Desk, subject: Subject, here: str) -> Event:
    said = LabAnswer(command=order.command, status=LabStatus.OK, headline=f"{subject.name}: a comparison was begun")
    return desk.note(EventKind.INTEGRATION_BEGUN, subject, here, said, chosen=bool(why_chosen(order)))


def draw_seeds(count: int) -> tuple[int, ...]:
    return tuple(secrets.SystemRandom().sample(range(2**32), count))


def why_chosen(order: Integration) -> str:
    """What somebody chose where luck or a kernel may depend on it: then it is no evidence for a promotion."""
    chosen = [f"--{name}" for name in ("preset", "dataset") if getattr(order, name) is not None]
    chosen += ["--time-budget"] * (order.time_budget < INTEGRATION_BUDGET_S)
    chosen += ["--repeats"] * (order.repeats < FEWEST_PAIRS)
    return ", ".join(chosen)


def significance(events: Sequence[Event], begun: Event) -> float:
    """What p has to be below: of the n-th comparison that was begun for an op on this hardware, with whatever kernel,
    SIGNIFICANT / n^2. The sum over all n is 1.64 times the first, so one who tries until chance is on its side is less
    than twice as likely to be validated for nothing. Editing a comment, or breaking off, starts no new count."""
    number = 1
    for event in events:
        if event.id == begun.id:
            break
        same = (event.op, event.hardware_key) == (begun.op, begun.hardware_key)
        number += event.kind is EventKind.INTEGRATION_BEGUN and same and not event.details.get("chosen")
    return SIGNIFICANT / number**2


def presets_of(order: Integration) -> list[str | None]:
    """The asked one (None: this machine's default shape), and for the suite the next larger one."""
    if order.command == "integration-ab":
        return [order.preset]
    names = [name for name in PRESETS if name != LARGEST]
    first = order.preset or _build(order, None, ANY_SEED).preset or names[0]
    larger = names[names.index(first) + 1 :][:1] if first in names else []
    return [order.preset, *larger]


def compare(order: Integration, desk: Desk, tried: Tried, preset: str | None) -> Comparison:
    job = _build(order, preset, ANY_SEED)
    pairs = [_pair(order, desk, tried, preset, number) for number in range(order.repeats)]
    return Comparison(
        preset=job.preset or "this machine's shape",
        speed=paired([math.log(_speed(a, True) / _speed(b, False)) for a, b in pairs]),
        val_bpb=paired([a - b for a, b in _scores(pairs)]) if len(list(_scores(pairs))) == len(pairs) else None,
        runs=tuple((a.run_id, b.run_id) for a, b in pairs),
    )


Pair = tuple[RunResult, RunResult]


def _pair(order: Integration, desk: Desk, tried: Tried, preset: str | None, number: int) -> Pair:
    """With and without, the one first that was second before. Where both fail it is not the kernel's fault."""
    results: dict[str, RunResult] = {}
    kernel = tried.kernel
    for choice in (kernel, OWN) if number % 2 == 0 else (OWN, kernel):
        results[choice] = _run(order, desk, tried, choice, preset, number)
        if choice == OWN:
            _speed(results[OWN], with_kernel=False)
        elif results[kernel].status is Status.OK:
            _expect_it_was_used(results[kernel], tried.op, kernel)
    _speed(results[kernel], with_kernel=True)
    return results[kernel], results[OWN]


def _run(order: Integration, desk: Desk, tried: Tried, choice: str, preset: str | None, number: int) -> RunResult:
    """Runs without the kernel may read it as those with it do, so that its text is charged to both alike."""
    job = _build(order, preset, tried.seeds[number])
    which = "reference" if choice == OWN else "kernel"
    rung = Rung.SMOKE if Device.parse(job.device).is_cpu else Rung.CHEAP
    label = job.preset or "shape"
    desk.say(f"{tried.op}: pair {number + 1} of {order.repeats} in {label}, a run with the {which}")
    job = job.model_copy(
        update={"kernels": {tried.op: choice}, "rung": rung, "run_id": f"lab-{desk.job_id}-{label}-{number}-{which}"}
    )
    return run(job, _source(order, preset), desk.executor, kernels=tried.files)


def _build(order: Integration, preset: str | None, seed: int) -> Job:
    return build_job(_request(order, preset, seed))[0]


def _source(order: Integration, preset: str | None) -> bytes:
    return build_job(_request(order, preset, ANY_SEED))[1]


def _request(order: Integration, preset: str | None, seed: int) -> TrainRequest:
    return TrainRequest(
        preset=preset, device=order.device, dataset=order.dataset, seed=seed, time_budget=order.time_budget
    )


def _speed(result: RunResult, with_kernel: bool) -> float:
    if result.status is not Status.OK or not result.tok_per_sec:
        raise RunFailed(with_kernel, result)
    return result.tok_per_sec


def _scores(pairs: list[Pair]) -> Iterator[tuple[float, float]]:
    for a, b in pairs:
        if a.val_bpb is not None and b.val_bpb is not None:
            yield a.val_bpb, b.val_bpb


def _expect_it_was_used(result: RunResult, op: str, kernel: str) -> None:
    """The shipped recipe says which kernels it took; one that takes none for the op has nothing to compare."""
    used = [choice.chosen for choice in result.choices if choice.what == "kernels"]
    if not any(f"{op} {kernel}" in chosen for chosen in used):
        raise _no_adapter(op)


def _is_asked_for(op: str, shipped_recipe: bytes) -> bool:
    """Whether the recipe names the op to kernels/choose.py, as a string or a keyword; else no run need find it out."""
    nodes = [*ast.walk(ast.parse(shipped_recipe))]
    strings = any(isinstance(node, ast.Constant) and node.value == op for node in nodes)
    return strings or any(isinstance(node, ast.keyword) and node.arg == op for node in nodes)


def _no_adapter(op: str) -> Missing:
    said = f"no recipe of this engine takes a kernel for {op}: call it through kernels/choose.py first"
    return Missing("needs-integration-adapter", said)


def _answer(order: Integration, subject: Subject, compared: list[Comparison], verdict: str, left_out: str) -> LabAnswer:
    """left_out: why a further preset could not be compared."""
    chosen = why_chosen(order)
    said = "; ".join(f"{one.preset} {one.speedup.value:.3f}x (p = {one.speed.p:.2g})" for one in compared)
    return LabAnswer(
        command=order.command,
        status=LabStatus.OK if verdict == "validated" else LabStatus.FAILED,
        headline=f"{subject.name}: {verdict}, {said}",
        lines=(
            *(one.line for one in compared),
            *([f"- not compared in a further preset: {left_out}"] if left_out else []),
            *([f"- counts for no promotion, because of {chosen}: leave it out"] if chosen else []),
        ),
        data={"verdict": verdict, "comparisons": [one.as_data() for one in compared], "left_out": left_out},
    )


def _failure(order: Integration, subject: Subject, failed: RunFailed) -> LabAnswer:
    said = f"{subject.name}: regressed, {failed}"
    return LabAnswer(command=order.command, status=LabStatus.FAILED, headline=said, data={"verdict": "regressed"})
