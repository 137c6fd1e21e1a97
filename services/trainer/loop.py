"""The training loop, one for all engines: rows in, steps, telemetry, checkpoints, stop.

The loss of a step is read after the next one was given to the device, so an asynchronous device never waits
for the host; on a CPU the same code is simply sequential. Phases of a step: shared/contracts.py StepRecord.
"""

import gc
import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from services.trainer.checkpoints import Saver
from services.trainer.clock import BudgetClock
from services.trainer.telemetry import MEMORY_EVERY, StepTimes, Telemetry
from shared.contracts import Shape
from shared.data.rows import Rows
from shared.engines import Engine

LARGEST_LOSS = 100.0
COLLECT_EVERY = 5000  # Python's collector stalls a step by up to half a second, so it runs when we say so


class Diverged(Exception):
    """The loss is not finite, or above LARGEST_LOSS."""


class Pending(NamedTuple):
    """A step given to the device whose loss was not read yet."""

    step: int
    progress: float
    loss: Any
    recipe: dict
    """what the recipe said of itself when it had done this step and not yet the next"""


class Loop:
    """State of one training run between steps. `run` returns the number of optimizer steps done."""

    def __init__(
        self,
        recipe: Any,
        engine: Engine,
        rows: Rows,
        shape: Shape,
        clock: BudgetClock,
        telemetry: Telemetry,
        saver: Saver,
    ):
        self.recipe, self.engine, self.rows, self.shape = recipe, engine, rows, shape
        self.clock, self.telemetry, self.saver = clock, telemetry, saver
        self.step = clock.tokens // shape.total_batch_size
        self.times = StepTimes()
        self.pending: Pending | None = None
        self.recipe_telemetry: Callable[[], dict] = getattr(recipe, "telemetry", dict)

    def run(self) -> int:
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            batch = self._next_batch()
            while not self.clock.is_over(self.times.total, self._in_flight_seconds()):
                batch = self._step(batch)
            self._drain()
            self.engine.synchronize()
        finally:
            gc.enable()
        self.telemetry.peak_memory_mb = self.engine.peak_memory_mb()
        return self.step

    def _step(self, batch: Any) -> Any:
        started = perf_counter()
        progress = self.clock.progress
        loss = self.recipe.step(batch, progress)
        dispatched = perf_counter()
        previous, self.pending = self.pending, Pending(self.step, progress, loss, self.recipe_telemetry())
        self.step += 1
        self.clock.tokens += self.shape.total_batch_size
        batch = self._next_batch()
        fetched = perf_counter()
        value = self._read(previous)
        waited = perf_counter()
        self._record(previous, value)
        self.times = StepTimes(fetched - dispatched, dispatched - started, waited - fetched)
        self._housekeeping(progress)
        self.times.record = perf_counter() - waited
        return batch

    def _next_batch(self) -> Any:
        count = self.shape.rows_per_step
        return self.engine.from_host(self.rows.read(self.step * count, count))

    def _read(self, pending: Pending | None) -> float:
        """Waits for the step and returns its loss."""
        if pending is None:
            return math.nan
        loss = self.engine.scalar(pending.loss)
        if not -math.inf < loss <= LARGEST_LOSS:
            raise Diverged(f"loss {loss:g} at step {pending.step}")
        return loss

    def _record(self, pending: Pending | None, loss: float) -> None:
        if pending is not None:
            self.telemetry.record(pending.step, loss, pending.progress, self.clock.seconds, self.times, pending.recipe)

    def _housekeeping(self, progress: float) -> None:
        if self.step % MEMORY_EVERY == 1:
            self.telemetry.peak_memory_mb = self.engine.peak_memory_mb()
        if self.step % COLLECT_EVERY == 0:
            gc.collect()
        if self.saver.curve_due(progress):
            self.saver.save_curve_point(self.step, progress)
        if self.saver.checkpoint_due():
            self._drain()
            self.saver.save_checkpoint(self.step)

    def _in_flight_seconds(self) -> float:
        """Work the device still has. A host that waits for it runs one step ahead; one that never waits, none."""
        return self.times.wait

    def _drain(self) -> None:
        """Reads the loss of the step under way: after it the device is idle and the telemetry complete."""
        last, self.pending = self.pending, None
        self._record(last, self._read(last))
