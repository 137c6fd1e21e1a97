"""Timed batches of calls in a candidate's process, by the lab's own clock.

A batch visits input sets larger than the cache in an order drawn for it. Before each call fresh numbers replace the
beginning of an input, so that nothing computed earlier is right; results of secretly chosen calls are compared.
"""

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch

from kernels.correctness import torch_cotangents, torch_inputs
from kernels.inputs import random_cotangents, random_inputs
from kernels.records import Definition, Workload
from services.kernel_lab.candidate import CandidateProcess, secret_random
from services.kernel_lab.messages import Batch, Fetch, Fill, Filled, Finished, Ran
from services.kernel_lab.placement import ALIGNMENT, DTYPES, Layout, Placed, write

SHORTEST_BATCH_S = 0.02
MOST_CALLS = 1000
"""in a batch"""
TOUCHED = 1024
"""numbers replaced before a call"""
FEWEST_SLOTS, MOST_SLOTS = 3, 64


def num_slots(bytes_per_call: int, cache_bytes: int, memory_bytes: int) -> int:
    """So many input sets that a set was pushed out of the cache before it is visited again."""
    wanted = min(MOST_SLOTS, max(FEWEST_SLOTS, -(-2 * cache_bytes // max(1, bytes_per_call)) + 1))
    return max(FEWEST_SLOTS, min(wanted, memory_bytes // max(1, bytes_per_call)))


@dataclass
class Slots:
    """The input sets, as they are now in every process of a benchmark."""

    inputs: list[dict[str, torch.Tensor | int | float]]
    cotangents: list[dict[str, torch.Tensor]]
    touched: str | None
    """input whose beginning is replaced before each call; None when there is no float among them"""

    @property
    def touch_numbers(self) -> int:
        return min(TOUCHED, self._target(0).numel()) if self.touched else 0

    @property
    def touch_bytes(self) -> int:
        """Of one call, padded."""
        size = self.touch_numbers * self._target(0).element_size() if self.touched else 0
        return -(-size // ALIGNMENT) * ALIGNMENT

    def _target(self, slot: int) -> torch.Tensor:
        assert self.touched is not None
        found = self.inputs[slot][self.touched]
        assert isinstance(found, torch.Tensor)
        return found

    def touch(self, slot: int, numbers: torch.Tensor) -> None:
        self._target(slot).data.view(-1)[: len(numbers)] = numbers


def draw_slots(of: Definition, workload: Workload, count: int) -> Slots:
    random = secret_random()
    inputs = [torch_inputs(of, random_inputs(of, workload, random), workload.precision) for _ in range(count)]
    dys = [torch_cotangents(of, random_cotangents(of, workload, random), workload.precision) for _ in range(count)]
    touched = next(
        (name for name, x in inputs[0].items() if isinstance(x, torch.Tensor) and x.is_floating_point()), None
    )
    return Slots(inputs, dys, touched)


@dataclass(frozen=True)
class Visit:
    """The calls of one batch, the same for every process that is compared."""

    slots: tuple[int, ...]
    numbers: tuple[torch.Tensor, ...]
    """what each call's touch writes"""


def draw_visit(slots: Slots, calls: int) -> Visit:
    """Every slot in secret order, again and again, until there are `calls`."""
    random = secret_random()
    count = len(slots.inputs)
    order = np.concatenate([random.permutation(count) for _ in range(-(-calls // count))])[:calls]
    if not slots.touched:
        return Visit(tuple(map(int, order)), ())
    dtype = slots._target(0).dtype
    fresh = random.standard_normal((calls, slots.touch_numbers), dtype=np.float32)
    return Visit(tuple(map(int, order)), tuple(torch.from_numpy(fresh).to(dtype)))


@dataclass
class Variant:
    """One function that is timed: its process and what was measured."""

    name: str
    process: CandidateProcess
    seconds: list[float] = field(default_factory=list)
    """of a call, one for each round"""

    def fill(self, slots: Slots, results: dict[str, torch.Tensor]) -> None:
        for number, (inputs, dys) in enumerate(zip(slots.inputs, slots.cotangents, strict=True)):
            order = self.process.lay_out(inputs, dys, results, 0)
            self.process.ask(Fill(slot=number, order=order), Filled)

    def timed(self, visit: Visit, slots: Slots, *, calls: bool = True) -> float:
        """Seconds of the batch, from the request to the answer."""
        batch = Batch(slots=visit.slots, touches=self._lay_touches(visit, slots), calls=calls)
        started = perf_counter()
        self.process.ask(batch, Finished)
        return perf_counter() - started

    def _lay_touches(self, visit: Visit, slots: Slots) -> tuple[Placed, ...]:
        if not slots.touched:
            some = next(name for name, x in slots.inputs[0].items() if isinstance(x, torch.Tensor))
            empty = Placed(name=some, dtype=DTYPES[torch.float32], shape=(0,), offset=0)
            return (empty,) * len(visit.slots)
        layout = Layout.of({str(number): x for number, x in enumerate(visit.numbers)})
        placed = layout.place(0)
        write(self.process.inputs_memory, placed, visit.numbers)
        return tuple(one.model_copy(update={"name": slots.touched}) for one in placed)

    def fetch(self, slot: int, results: tuple[Placed, ...]) -> tuple[dict[str, torch.Tensor], float]:
        """What the last call on the slot returned, and how long it took to get it."""
        self.process.results_memory[:] = 0xFF
        started = perf_counter()
        self.process.ask(Fetch(slot=slot, results=results), Ran)
        return self.process.read(results), perf_counter() - started
