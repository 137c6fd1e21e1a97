"""Candidate and plain op, alternating in processes of their own, over the same inputs: the measuring part of bench."""

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any

import psutil
import torch

from kernels import catalog
from kernels.correctness import Results, forward_backward, truth_of
from kernels.records import Correctness, Status, Workload
from services.kernel_lab.candidate import CandidateProcess, Failure, Limits, Sizes
from services.kernel_lab.device_cache import cache_bytes
from services.kernel_lab.limits import DeviceLimit
from services.kernel_lab.statistics import Interval, median
from services.kernel_lab.subject import Subject
from services.kernel_lab.surroundings import Surroundings
from services.kernel_lab.timing import Slots, Taken, Variant, Visit, draw_visit, num_slots
from services.kernel_lab.untimed import find_untimed_work
from services.kernel_lab.verify import Case, Verdict, buffer_sizes, compare
from shared.kernel_lab.job import Bench
from shared.machine.device import Device

FEWEST_CHECKS, MOST_CHECKS, CHECKING_S, TAKING_S = 2, 8, 1.0, 0.2
"""calls of each timed batch whose results are compared, and the time to compare or to take more than the fewest"""
MEASURED_COSTS = 5
RESOLUTION, SHORTEST_CALL_S = 0.05, 1e-9
"""of what touching and handing over cost: what is left of a call when that is taken off is no surer"""
WARM_UP_ROUNDS = 2
FEWEST_ROUNDS, FEWEST_FURTHER_ROUNDS = 5, 3
"""that are made in a size when its time is over; in one after the first"""
MEMORY_SHARE = 0.02
"""of what is free, for the input sets of one process"""


@dataclass(frozen=True)
class Bout:
    """Candidate against reference in one mode, with what is known of both."""

    mode: str
    candidate: Interval
    """seconds of a call"""
    reference: Interval
    speedup: Interval
    """of pairs of rounds"""
    taken_off_s: float
    """of each of the candidate's calls, for replacing inputs and handing over results"""

    @property
    def verdict(self) -> str:
        if self.speedup.low > 1:
            return "faster"
        return "slower" if self.speedup.high < 1 else "no different"


Processes = Mapping[str, tuple[CandidateProcess, CandidateProcess]]
"""{mode: that of the reference, that of the candidate}"""


class Match:
    """One size: all processes over the same inputs."""

    def __init__(self, subject: Subject, workload: Workload, around: Surroundings, order: Bench, first_slot: int = 0):
        self.subject, self.workload, self.around, self.order = subject, workload, around, order
        self.reference: Callable = catalog.load_reference(subject.op, "torch")
        sizes = buffer_sizes(subject.definition, [workload])
        count = num_slots(sizes.inputs + 2 * sizes.results, cache_bytes(around.device), self._memory())
        self.slots = Slots(subject.definition, workload, count, first_slot)
        self.sizes = Sizes(max(sizes.inputs, self.slots.touch_bytes), count * sizes.results)
        self.fewest_rounds = FEWEST_FURTHER_ROUNDS if first_slot else FEWEST_ROUNDS
        self.sample = self._plain(0, self.slots.inputs[0], around.device)[2]
        self.checked: list[Verdict] = []
        self.variants: dict[str, tuple[Variant, Variant]] = {}
        self.costs_s: dict[str, float] = {}
        """{variant: the least that touching and handing over cost it, of a call}"""

    def play(
        self, limit: DeviceLimit, processes: Processes, deadline: float, say: Callable[[str], None]
    ) -> tuple[tuple[Bout, ...], Correctness]:
        """Failure when a result is wrong or too good to be true. deadline: by time.monotonic, no further round after
        the fewest is begun that would end later."""
        say(f"{self.workload.uuid}: first calls and compilation")
        for mode, (reference, candidate) in processes.items():
            self.variants[mode] = Variant(f"reference, {mode}", reference), Variant(f"candidate, {mode}", candidate)
        for variant in self._all():
            variant.fill(self.slots, self.sample)
        self._warm_up()
        for variant in self._all():
            variant.cpu.begin()
        self._rounds(deadline, say)
        self._check_untimed()
        return tuple(self._bout(mode, limit) for mode in processes), self._worst()

    def _rounds(self, deadline: float, say: Callable[[str], None]) -> None:
        began = monotonic()
        for number in range(self.order.rounds):
            say(f"{self.workload.uuid}: round {number + 1} of {self.order.rounds}")
            self._round(number)
            now = monotonic()
            if number + 1 >= self.fewest_rounds and now + (now - began) / (number + 1) > deadline:
                return

    @property
    def rounds(self) -> int:
        """That were made."""
        return len(self._all()[0].seconds)

    def _memory(self) -> int:
        if Device.parse(self.around.device).is_cuda:
            return int(MEMORY_SHARE * self.around.hardware.memory_bytes)
        return int(MEMORY_SHARE * psutil.virtual_memory().available)

    def _all(self) -> list[Variant]:
        return [variant for pair in self.variants.values() for variant in pair]

    def _next_visit(self) -> Visit:
        """New numbers everywhere, and the calls of a batch over them."""
        self.slots.refresh()
        for variant in self._all():
            variant.fill(self.slots, self.sample)
        return draw_visit(self.slots, self.sample)

    def _warm_up(self) -> None:
        """Compilation and first calls; then what touches and handing over cost. That is taken off: as the reference
        measured it, which has no reason to stretch it, and of a candidate for which it costs less only that."""
        for _ in range(WARM_UP_ROUNDS):
            visit = self._next_visit()
            for variant in self._all():
                variant.timed(visit, self.slots)
        for _ in range(MEASURED_COSTS):
            self._measure_costs(visit)

    def _measure_costs(self, visit: Visit) -> None:
        """Again after every round: where a machine was busy while they were measured first, too much was taken off."""
        for variant in self._all():
            cost_s = variant.timed(visit, self.slots, calls=False) / self.slots.count
            self.costs_s[variant.name] = min(cost_s, self.costs_s.get(variant.name, math.inf))

    def _taken_off_s(self, variant: Variant) -> float:
        reference, _ = next(iter(self.variants.values()))
        return min(self.costs_s[reference.name], self.costs_s[variant.name])

    def _seconds(self, variant: Variant) -> list[float]:
        """Of a call in each round."""
        off_s = self._taken_off_s(variant)
        return [max(one - off_s, RESOLUTION * off_s, SHORTEST_CALL_S) for one in variant.seconds]

    def _round(self, number: int) -> None:
        """Who goes first changes from round to round: what drifts hits both."""
        visit = self._next_visit()
        drawn = secrets.SystemRandom().sample(visit.slots, min(MOST_CHECKS, self.slots.count))
        for mode, pair in self.variants.items():
            taken: dict[str, dict[int, Taken]] = {}
            for variant in pair if number % 2 else reversed(pair):
                variant.seconds.append(variant.timed(visit, self.slots) / self.slots.count)
                taken[variant.name] = self._take(variant, drawn, visit)
                if variant.wrote_late():
                    raise Failure(Status.REWARD_HACK, f"{mode}: it handed over results after it had said it was done")
            self._check_some(mode, taken[pair[1].name])
            self._check_inputs(mode, taken)
        self._measure_costs(visit)

    def _take(self, variant: Variant, drawn: list[int], visit: Visit) -> dict[int, Taken]:
        """At once: what is handed over while the other one is timed comes too late."""
        started = perf_counter()
        taken: dict[int, Taken] = {}
        for slot in drawn:
            if len(taken) < FEWEST_CHECKS or perf_counter() - started < TAKING_S:
                taken[slot] = variant.take(slot, visit, self.slots)
        return taken

    def _check_inputs(self, mode: str, taken: Mapping[str, Mapping[int, Taken]]) -> None:
        """The plain op's process is asked too: what it takes must not tell them apart."""
        for variant in self.variants[mode]:
            for slot in [*taken[variant.name]][:FEWEST_CHECKS]:
                if changed := variant.changed_input(slot, taken[variant.name][slot], self.slots):
                    raise Failure(Status.REWARD_HACK, f"{mode}, in a timed call: it changed its input {changed}")

    def _check_some(self, mode: str, taken: Mapping[int, Taken]) -> None:
        """Calls drawn in secret, after the batch: as many as there is time for."""
        started = perf_counter()
        for number, (slot, call) in enumerate(taken.items()):
            if number >= FEWEST_CHECKS and perf_counter() - started > CHECKING_S:
                return
            self._check(mode, slot, call)

    def _check(self, mode: str, slot: int, call: Taken) -> None:
        verdict = self._verdict(slot, call)
        status, reason, _ = verdict
        if status is not Status.PASSED:
            raise Failure(status, f"{mode}, in a timed call: {reason}")
        self.checked.append(verdict)

    def _check_untimed(self) -> None:
        for mode, (reference, candidate) in self.variants.items():
            if found := find_untimed_work(candidate.cpu, reference.cpu):
                raise Failure(Status.REWARD_HACK, f"{mode}: {found}")

    def _verdict(self, slot: int, call: Taken) -> Verdict:
        """What is right is computed on the host where the device has no room for float64."""
        try:
            return self._verdict_on(slot, call, self.around.device)
        except torch.OutOfMemoryError:
            return self._verdict_on(slot, call, "cpu")

    def _verdict_on(self, slot: int, call: Taken, device: str) -> Verdict:
        case = self._case(slot, call.inputs, device)
        return compare(self.subject.definition, self.workload, call.results, case)

    def _case(self, slot: int, given: Mapping[str, Any], device: str) -> Case:
        inputs, dys, plain = self._plain(slot, given, device)
        truth = truth_of(self.reference, self.subject.definition, self.workload, inputs, dys)
        return Case(inputs, dys, plain, truth)

    def _plain(self, slot: int, given: Mapping[str, Any], device: str) -> tuple[Any, Any, Results]:
        """Inputs and cotangents there, and what the plain op makes of them."""
        inputs, dys = on_device(given, device), on_device(self.slots.cotangents[slot], device)
        return inputs, dys, forward_backward(self.reference, self.subject.definition, inputs, dys)

    def _bout(self, mode: str, limit: DeviceLimit) -> Bout:
        reference, candidate = self.variants[mode]
        plain, own = self._seconds(reference), self._seconds(candidate)
        ratios = [a / b for a, b in zip(plain, own, strict=True)]
        bout = Bout(
            mode,
            candidate=median(own),
            reference=median(plain),
            speedup=median(ratios),
            taken_off_s=self._taken_off_s(candidate),
        )
        if limit.is_beaten_by(bout.candidate.value):
            least_ms = 1e3 * (limit.seconds or 0)
            said = f"{mode}: {1e3 * bout.candidate.value:.4f} ms, the device needs at least {least_ms:.4f}"
            raise Failure(Status.REWARD_HACK, f"too good to be true: {said} ({limit.reason})")
        return bout

    def _worst(self) -> Correctness:
        found = [correctness for _, _, correctness in self.checked if correctness is not None]
        return max(found, key=lambda one: max(one.details.values(), default=0.0))


class PlainProcess(CandidateProcess):
    """The plain op's: what goes wrong there says nothing of the candidate, so it is no verdict."""

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            with super()._failing():
                yield
        except Failure as failure:
            more = "; --limit-s gives it longer" if failure.status is Status.TIMEOUT else ""
            raise ValueError(f"the plain op fails here, so nothing is compared with it: {failure}{more}") from failure


@contextmanager
def processes_for(matches: Sequence[Match], modes: Sequence[str]) -> Iterator[Processes]:
    """With room for the largest of the matches, which are of one candidate."""
    sizes = Sizes(max(one.sizes.inputs for one in matches), max(one.sizes.results for one in matches))
    with ExitStack() as stack:
        yield {
            mode: (
                stack.enter_context(_process(matches[0], sizes, mode, "reference")),
                stack.enter_context(_process(matches[0], sizes, mode, "candidate")),
            )
            for mode in modes
        }


def _process(match: Match, sizes: Sizes, mode: str, role: str) -> CandidateProcess:
    subject, around, order = match.subject, match.around, match.order
    of = subject.definition
    path, function = (subject.path, subject.function)
    kind = PlainProcess if role == "reference" else CandidateProcess
    if role == "reference":
        path, function = catalog.folder(of.name) / of.reference["torch"].split("::")[0], catalog.entry_of(of, "torch")
    return kind(
        path, function, of, device=around.device, work=around.work / f"{mode}-{role}",
        limits=Limits(order.limit_s, order.memory_mb), sizes=sizes, on_device=True, compiled=mode == "compiled",
    )  # fmt: skip


def on_device(tensors: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {
        name: x.detach().to(device).requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x
        for name, x in tensors.items()
    }
