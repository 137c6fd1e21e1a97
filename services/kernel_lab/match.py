"""Candidate and plain op, alternating in processes of their own, over the same inputs: the measuring part of bench."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from kernels import catalog
from kernels.correctness import forward_backward, in_float64
from kernels.records import Correctness, Status, Workload
from services.kernel_lab.candidate import CandidateProcess, Failure, Limits, Sizes
from services.kernel_lab.device_cache import cache_bytes
from services.kernel_lab.limits import DeviceLimit
from services.kernel_lab.statistics import Interval, median
from services.kernel_lab.subject import Subject
from services.kernel_lab.surroundings import Surroundings
from services.kernel_lab.timing import MOST_CALLS, SHORTEST_BATCH_S, Variant, Visit, draw_slots, draw_visit, num_slots
from services.kernel_lab.verify import Case, Verdict, buffer_sizes, compare
from shared.kernel_lab.job import Bench
from shared.machine.device import Device

CHECKED_ROUNDS = 4
"""of those timed, drawn in secret"""
WARM_UP_ROUNDS = 2
MEMORY_SHARE = 0.02
"""of what is free, for the input sets of one process"""
LATE = 0.5
"""of a reference call: who needs so much longer to hand over a result is still computing it"""


@dataclass(frozen=True)
class Bout:
    """Candidate against reference in one mode, with what is known of both."""

    mode: str
    candidate: Interval
    """seconds of a call"""
    reference: Interval
    speedup: Interval
    """of pairs of rounds"""

    @property
    def verdict(self) -> str:
        if self.speedup.low > 1:
            return "faster"
        return "slower" if self.speedup.high < 1 else "no different"


class Match:
    """All processes of one benchmark, over the same inputs."""

    def __init__(
        self, subject: Subject, workload: Workload, around: Surroundings, order: Bench, modes: tuple[str, ...]
    ):
        self.subject, self.workload, self.around, self.order, self.modes = subject, workload, around, order, modes
        self.reference: Callable = catalog.load_reference(subject.op, "torch")
        sizes = buffer_sizes(subject.definition, [workload])
        count = num_slots(sizes.inputs + sizes.results, cache_bytes(around.device), self._memory())
        self.slots = draw_slots(subject.definition, workload, count)
        touches = MOST_CALLS * self.slots.touch_bytes
        self.sizes = Sizes(max(sizes.inputs, touches), sizes.results)
        self.sample = dict(self._case(0).plain)
        self.checked: list[Verdict] = []
        self.variants: dict[str, tuple[Variant, Variant]] = {}
        self.touch_s = 0.0

    def play(self, limit: DeviceLimit) -> tuple[tuple[Bout, ...], Correctness]:
        """Failure when a result is wrong or too good to be true."""
        with ExitStack() as stack:
            for mode in self.modes:
                self.variants[mode] = (self._enter(stack, mode, "reference"), self._enter(stack, mode, "candidate"))
            calls = self._warm_up()
            secret = set(
                secrets.SystemRandom().sample(range(self.order.rounds), min(CHECKED_ROUNDS, self.order.rounds))
            )
            for number in range(self.order.rounds):
                self._round(number, calls, number in secret)
        return tuple(self._bout(mode, limit) for mode in self.modes), self._worst()

    def _memory(self) -> int:
        if Device.parse(self.around.device).is_cuda:
            return int(MEMORY_SHARE * self.around.hardware.memory_bytes)
        return int(MEMORY_SHARE * psutil.virtual_memory().available)

    def _enter(self, stack: ExitStack, mode: str, role: str) -> Variant:
        variant = Variant(f"{role}, {mode}", stack.enter_context(self._process(mode, role)))
        variant.fill(self.slots, self.sample)
        return variant

    def _process(self, mode: str, role: str) -> CandidateProcess:
        of = self.subject.definition
        plain = catalog.folder(of.name) / of.reference["torch"].split("::")[0]
        path, function = (self.subject.path, self.subject.function)
        if role == "reference":
            path, function = Path(plain), catalog.entry_of(of, "torch")
        return CandidateProcess(
            path, function, of, device=self.around.device, work=self.around.work / f"{mode}-{role}",
            limits=Limits(self.order.limit_s, self.order.memory_mb), sizes=self.sizes, compiled=mode == "compiled",
        )  # fmt: skip

    def _warm_up(self) -> int:
        """Calls of a batch, so that the fastest of all takes long enough for a clock."""
        fastest = float("inf")
        for _ in range(WARM_UP_ROUNDS):
            visit = self._draw(len(self.slots.inputs))
            for pair in self.variants.values():
                fastest = min(fastest, *(variant.timed(visit, self.slots) / len(visit.slots) for variant in pair))
            self._remember(visit)
        calls = min(MOST_CALLS, max(len(self.slots.inputs), int(SHORTEST_BATCH_S / max(fastest, 1e-7))))
        self.touch_s = self._cost_of_touches(calls)
        return calls

    def _cost_of_touches(self, calls: int) -> float:
        """Of one call, measured on the reference, which has no reason to stretch it. Taken off both sides."""
        reference, _ = next(iter(self.variants.values()))
        costs = []
        for _ in range(3):
            visit = self._draw(calls)
            costs.append(reference.timed(visit, self.slots, calls=False) / calls)
            for pair in self.variants.values():
                for variant in pair:
                    if variant is not reference:
                        variant.timed(visit, self.slots, calls=False)
            self._remember(visit)
        return min(costs)

    def _draw(self, calls: int) -> Visit:
        return draw_visit(self.slots, calls)

    def _remember(self, visit: Visit) -> None:
        for slot, numbers in zip(visit.slots, visit.numbers, strict=False):
            self.slots.touch(slot, numbers)

    def _round(self, number: int, calls: int, is_checked: bool) -> None:
        """Who goes first changes from round to round: what drifts hits both."""
        visit = self._draw(calls)
        for reference, candidate in self.variants.values():
            for variant in (reference, candidate) if number % 2 else (candidate, reference):
                variant.seconds.append(max(variant.timed(visit, self.slots) / calls - self.touch_s, 1e-9))
        self._remember(visit)
        if is_checked:
            slot = secrets.choice(visit.slots)
            for mode, (reference, candidate) in self.variants.items():
                self._check(mode, slot, reference, candidate)

    def _check(self, mode: str, slot: int, reference: Variant, candidate: Variant) -> None:
        places = candidate.process.lay_out({}, {}, self.sample, 0).results
        _, reference_s = reference.fetch(slot, places)
        found, candidate_s = candidate.fetch(slot, places)
        call_s = median(reference.seconds).value
        if candidate_s - reference_s > max(LATE * call_s, 0.05):
            late = f"{1000 * (candidate_s - reference_s):.1f} ms after the clock had stopped"
            raise Failure(Status.REWARD_HACK, f"{mode}: its result came {late}: it computes when it is looked at")
        verdict = compare(self.subject.definition, self.workload, found, self._case(slot))
        status, reason, _ = verdict
        if status is not Status.PASSED:
            raise Failure(status, f"{mode}, in a timed call: {reason}")
        self.checked.append(verdict)

    def _case(self, slot: int) -> Case:
        """What is right for the numbers that the slot holds now."""
        of, device = self.subject.definition, self.around.device
        inputs, dys = on_device(self.slots.inputs[slot], device), on_device(self.slots.cotangents[slot], device)
        plain = forward_backward(self.reference, of, inputs, dys)
        truth = forward_backward(self.reference, of, in_float64(inputs), in_float64(dys))
        return Case(inputs, dys, plain, truth)

    def _bout(self, mode: str, limit: DeviceLimit) -> Bout:
        reference, candidate = self.variants[mode]
        ratios = [a / b for a, b in zip(reference.seconds, candidate.seconds, strict=True)]
        bout = Bout(mode, median(candidate.seconds), median(reference.seconds), median(ratios))
        if limit.is_beaten_by(bout.candidate.value):
            least_ms = 1e3 * (limit.seconds or 0)
            said = f"{mode}: {1e3 * bout.candidate.value:.4f} ms, the device needs at least {least_ms:.4f}"
            raise Failure(Status.REWARD_HACK, f"too good to be true: {said} ({limit.reason})")
        return bout

    def _worst(self) -> Correctness:
        found = [correctness for _, _, correctness in self.checked if correctness is not None]
        return max(found, key=lambda one: max(one.details.values(), default=0.0))


def on_device(tensors: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {
        name: x.detach().to(device).requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x
        for name, x in tensors.items()
    }
