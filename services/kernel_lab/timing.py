"""Timed batches of calls in a candidate's process, by the lab's own clock.

Input sets together are larger than the cache. Before a batch all of them get new numbers at their old addresses; the
batch calls once on each, in an order drawn for it, and just before a call numbers all over one input are replaced, by
what depends on the results of the call before. So nothing that was remembered is right, nothing can be computed ahead,
and no two calls at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch

from kernels.correctness import torch_cotangents, torch_inputs
from kernels.inputs import random_cotangents, random_inputs
from kernels.records import Definition, Workload
from services.kernel_lab.candidate import POISON, CandidateProcess, secret_random
from services.kernel_lab.messages import Batch, Fill, Filled, Finished, Show, Shown
from services.kernel_lab.placement import ALIGNMENT, DTYPES, Layout, Placed, mix_in, spread, view, write
from services.kernel_lab.untimed import CpuMeter

GLANCES = 16
"""bytes of each result that are looked at as soon as a batch is said to be over, and again after it"""
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
    first: int = 0
    """its number in the processes, which other sizes have filled before"""
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
        """The input of which numbers are replaced before each call; None when no input has floats."""
        return next((name for name, x in self.inputs[0].items() if is_float(x)), None)

    def target(self, slot: int) -> torch.Tensor:
        """Of the touches, as one line of numbers."""
        found = self.inputs[slot][self.touched or ""]
        assert isinstance(found, torch.Tensor)
        return found.data.view(-1)

    def after_touch(self, slot: int, start: int, numbers: torch.Tensor) -> dict[str, torch.Tensor | int | float]:
        """The inputs of the slot with these numbers in the touched one."""
        line = self.target(slot).clone()
        spread(line, start, self.touch_step, len(numbers)).copy_(numbers)
        old = self.inputs[slot][self.touched or ""]
        assert isinstance(old, torch.Tensor)
        return self.inputs[slot] | {self.touched or "": line.view(old.shape).requires_grad_(old.requires_grad)}

    @property
    def touch_step(self) -> int:
        """One less than a row is long: a number of each row, in another column each."""
        found = self.inputs[0][self.touched or ""]
        assert isinstance(found, torch.Tensor)
        return max(1, found.shape[-1] - 1) if found.dim() > 1 else 1

    @property
    def touch_numbers(self) -> int:
        return len(self.target(0)) // self.touch_step if self.touched else 0

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
    """where in a result of the call before the numbers begin that are mixed into what it writes"""
    linked: int = 0
    """which result"""
    link_step: int = 1


@dataclass(frozen=True)
class Taken:
    """A call as it was: what it was given, and what it handed over."""

    inputs: dict[str, torch.Tensor | int | float]
    results: dict[str, torch.Tensor]


def draw_visit(slots: Slots, results: Mapping[str, torch.Tensor]) -> Visit:
    """Every slot once, in secret order, touched at secret places. Mixed in is the last of the largest results: a
    gradient, where there is one, so that nothing of a call can wait."""
    random, count = secret_random(), slots.count
    order = tuple(map(int, random.permutation(count)))
    if not slots.touched:
        return Visit(order, (0,) * count, ())
    sizes = [one.numel() for one in results.values()]
    linked = max(range(len(sizes)), key=lambda number: (sizes[number], number))
    link_step = max(1, sizes[linked] // slots.touch_numbers)
    links = random.integers(0, link_step, count)
    starts = random.integers(0, slots.touch_step, count)
    fresh = random.standard_normal((count, slots.touch_numbers), dtype=np.float32)
    numbers = tuple(torch.from_numpy(fresh).to(slots.target(0).dtype))
    return Visit(order, tuple(map(int, starts)), numbers, tuple(map(int, links)), linked, link_step)


@dataclass
class Variant:
    """One function that is timed: its process and what was measured."""

    name: str
    process: CandidateProcess
    seconds: list[float] = field(default_factory=list)
    """of a call with all around it, one for each round"""
    places: dict[int, tuple[Placed, ...]] = field(default_factory=dict)
    """of each slot's results"""

    def __post_init__(self) -> None:
        self.cpu = CpuMeter(self.process.pid)
        self.looked_at = np.zeros(0, np.int64)
        self.seen = np.zeros(0, np.uint8)

    def fill(self, slots: Slots, results: dict[str, torch.Tensor]) -> None:
        """Brings the input sets to the process, and poisons where results go."""
        self.process.poison()
        size = Layout.of(results).num_bytes
        for number, (inputs, dys) in enumerate(zip(slots.inputs, slots.cotangents, strict=True)):
            order = self.process.lay_out(inputs, dys, results, 0, number * size)
            self.places[number] = order.results
            self.process.ask(Fill(slot=slots.first + number, order=order), Filled)

    def timed(self, visit: Visit, slots: Slots, *, calls: bool = True) -> float:
        """Seconds of the batch, from the request to the answer. At once some bytes of all results are looked at."""
        batch = Batch(
            slots=tuple(slots.first + slot for slot in visit.slots),
            touches=self._lay_touches(visit, slots),
            starts=visit.starts,
            step=slots.touch_step if slots.touched else 1,
            linked=visit.linked,
            links=visit.links,
            link_step=visit.link_step,
            calls=calls,
        )
        self.looked_at = self._glances()
        with self.cpu.batch():
            started = perf_counter()
            self.process.ask(batch, Finished)
            seconds = perf_counter() - started
        self.seen = self.process.glance(self.looked_at)
        return seconds

    def _glances(self) -> np.ndarray:
        random = secret_random()
        places = [place for slot in self.places.values() for place in slot]
        return np.concatenate([place.offset + random.integers(0, place.num_bytes, GLANCES) for place in places])

    def wrote_late(self) -> bool:
        """Whether results have changed since the batch was said to be over."""
        return not np.array_equal(self.process.glance(self.looked_at), self.seen)

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
            linked = self.places[visit.slots[number - 1]][visit.linked]
            mix_in(numbers, self.process.part(linked, visit.links[number], visit.link_step, len(numbers)))
        return slots.after_touch(slot, visit.starts[number], numbers)

    def changed_input(self, slot: int, taken: Taken, slots: Slots) -> str:
        """The name of an input of the slot that is not what it was given; empty when there is none."""
        given = {name: x for name, x in taken.inputs.items() if isinstance(x, torch.Tensor)}
        placed = Layout.of(given).place(0)
        self.process.inputs_memory[:] = POISON
        self.process.ask(Show(slot=slots.first + slot, inputs=placed), Shown)
        shown = {place.name: view(self.process.inputs_memory.copy(), place) for place in placed}
        return next((name for name, x in given.items() if not torch.equal(shown[name], x.detach())), "")
