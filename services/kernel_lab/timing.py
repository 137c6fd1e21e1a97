"""Timed batches of calls in a candidate's process, by the lab's own clock.

Input sets together are larger than the cache. Before a batch all of them get new numbers at their old addresses; the
batch calls once on each, in an order drawn for it, and just before a call a few numbers at a secret place of one input
are replaced, by what depends on the results of the call before. So nothing that was remembered is right, nothing can
be computed ahead, and no two calls at once.
"""

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch

from kernels.correctness import torch_cotangents, torch_inputs
from kernels.inputs import random_cotangents, random_inputs
from kernels.records import Definition, Workload
from services.kernel_lab.candidate import POISON, CandidateProcess, secret_random
from services.kernel_lab.messages import Batch, Fill, Filled, Finished, Show, Shown
from services.kernel_lab.placement import ALIGNMENT, DTYPES, Layout, Placed, view, write
from services.kernel_lab.untimed import CpuMeter

TOUCHED = 1024
"""numbers replaced before a call"""
FEWEST_SLOTS, MOST_SLOTS = 3, 64


def num_slots(bytes_per_call: int, cache_bytes: int, memory_bytes: int) -> int:
    """So many input sets that together they are twice the cache, or as many as are allowed."""
    wanted = min(MOST_SLOTS, max(FEWEST_SLOTS, -(-2 * cache_bytes // max(1, bytes_per_call)) + 1))
    return max(FEWEST_SLOTS, min(wanted, memory_bytes // max(1, bytes_per_call)))


@dataclass
class Slots:
    """The input sets, as they are now in every process of a benchmark."""

    definition: Definition
    workload: Workload
    count: int
    inputs: list[dict[str, torch.Tensor | int | float]] = field(default_factory=list)
    cotangents: list[dict[str, torch.Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """New numbers for all of them, from the operating system's seed."""
        of, workload, random = self.definition, self.workload, secret_random()
        self.inputs, self.cotangents = [], []
        for _ in range(self.count):
            self.inputs.append(torch_inputs(of, random_inputs(of, workload, random), workload.precision))
            self.cotangents.append(torch_cotangents(of, random_cotangents(of, workload, random), workload.precision))

    @property
    def touched(self) -> str | None:
        """The input of which a few numbers are replaced before each call; None when no input has floats."""
        return next((name for name, x in self.inputs[0].items() if is_float(x)), None)

    def target(self, slot: int) -> torch.Tensor:
        """Of the touches, as one line of numbers."""
        found = self.inputs[slot][self.touched or ""]
        assert isinstance(found, torch.Tensor)
        return found.data.view(-1)

    def after_touch(self, slot: int, start: int, numbers: torch.Tensor) -> dict[str, torch.Tensor | int | float]:
        """The inputs of the slot with these numbers in the touched one."""
        line = self.target(slot).clone()
        line[start : start + len(numbers)] = numbers
        old = self.inputs[slot][self.touched or ""]
        assert isinstance(old, torch.Tensor)
        return self.inputs[slot] | {self.touched or "": line.view(old.shape).requires_grad_(old.requires_grad)}

    @property
    def touch_numbers(self) -> int:
        return min(TOUCHED, len(self.target(0))) if self.touched else 0

    @property
    def touch_bytes(self) -> int:
        """Of a whole batch, each padded."""
        size = self.touch_numbers * self.target(0).element_size() if self.touched else 0
        return self.count * -(-size // ALIGNMENT) * ALIGNMENT


def is_float(x: torch.Tensor | int | float) -> bool:
    return isinstance(x, torch.Tensor) and x.is_floating_point()


@dataclass(frozen=True)
class Visit:
    """The calls of one batch, the same for every process that is compared."""

    slots: tuple[int, ...]
    starts: tuple[int, ...]
    """where each call's touch begins"""
    numbers: tuple[torch.Tensor, ...]
    """what it writes"""
    links: tuple[int, ...] = ()
    """where in the first result of the call before the numbers begin whose signs are added to what it writes"""


@dataclass(frozen=True)
class Taken:
    """A call as it was: what it was given, and what it handed over."""

    inputs: dict[str, torch.Tensor | int | float]
    results: dict[str, torch.Tensor]


def draw_visit(slots: Slots, first_result: int = 1) -> Visit:
    """Every slot once, in secret order, touched at secret places. first_result: numbers in a call's first result."""
    random, count = secret_random(), slots.count
    order = tuple(map(int, random.permutation(count)))
    if not slots.touched:
        return Visit(order, (0,) * count, ())
    links = random.integers(0, max(1, first_result - slots.touch_numbers + 1), count)
    target = slots.target(0)
    starts = random.integers(0, len(target) - slots.touch_numbers + 1, count)
    fresh = random.standard_normal((count, slots.touch_numbers), dtype=np.float32)
    numbers = tuple(torch.from_numpy(fresh).to(target.dtype))
    return Visit(order, tuple(map(int, starts)), numbers, tuple(map(int, links)))


@dataclass
class Variant:
    """One function that is timed: its process and what was measured."""

    name: str
    process: CandidateProcess
    seconds: list[float] = field(default_factory=list)
    """of a call, one for each round"""
    places: dict[int, tuple[Placed, ...]] = field(default_factory=dict)
    """of each slot's results"""

    def __post_init__(self) -> None:
        self.cpu = CpuMeter(self.process.pid)

    def fill(self, slots: Slots, results: dict[str, torch.Tensor]) -> None:
        """Brings the input sets to the process, and poisons where results go."""
        self.process.poison()
        size = Layout.of(results).num_bytes
        for number, (inputs, dys) in enumerate(zip(slots.inputs, slots.cotangents, strict=True)):
            order = self.process.lay_out(inputs, dys, results, 0, number * size)
            self.places[number] = order.results
            self.process.ask(Fill(slot=number, order=order), Filled)

    def timed(self, visit: Visit, slots: Slots, *, calls: bool = True) -> float:
        """Seconds of the batch, from the request to the answer."""
        touches = self._lay_touches(visit, slots)
        batch = Batch(slots=visit.slots, touches=touches, starts=visit.starts, links=visit.links, calls=calls)
        with self.cpu.batch():
            started = perf_counter()
            self.process.ask(batch, Finished)
            return perf_counter() - started

    def _lay_touches(self, visit: Visit, slots: Slots) -> tuple[Placed, ...]:
        if not visit.numbers:
            some = next(name for name, x in slots.inputs[0].items() if isinstance(x, torch.Tensor))
            nothing = Placed(name=some, dtype=DTYPES[torch.float32], shape=(0,), offset=0)
            return (nothing,) * len(visit.slots)
        placed = Layout.of({str(number): x for number, x in enumerate(visit.numbers)}).place(0)
        write(self.process.inputs_memory, placed, visit.numbers)
        return tuple(one.model_copy(update={"name": slots.touched}) for one in placed)

    def take(self, slot: int, visit: Visit, slots: Slots) -> Taken:
        """The call on the slot. Ask as soon as the batch is over: what is handed over later was not computed in it."""
        return Taken(self._given(slot, visit, slots), self.process.read(self.places[slot]))

    def _given(self, slot: int, visit: Visit, slots: Slots) -> dict[str, torch.Tensor | int | float]:
        if not visit.numbers:
            return slots.inputs[slot]
        number = visit.slots.index(slot)
        numbers = visit.numbers[number].clone()
        if number > 0:
            first = self.places[visit.slots[number - 1]][0]
            signs = self.process.part(first, visit.links[number], len(numbers)).sign()
            numbers[: len(signs)].add_(signs)
        return slots.after_touch(slot, visit.starts[number], numbers)

    def changed_input(self, slot: int, taken: Taken) -> str:
        """The name of an input of the slot that is not what it was given; empty when there is none."""
        given = {name: x for name, x in taken.inputs.items() if isinstance(x, torch.Tensor)}
        placed = Layout.of(given).place(0)
        self.process.inputs_memory[:] = POISON
        self.process.ask(Show(slot=slot, inputs=placed), Shown)
        shown = {place.name: view(self.process.inputs_memory.copy(), place) for place in placed}
        return next((name for name, x in given.items() if not torch.equal(shown[name], x.detach())), "")
