"""When the state is handed over during training. The supervisor writes the files (state_store.py).

Copying into the buffer takes place in the loop. With mode sync the loop also waits until the files are on disk; with
async it goes on, and waits only when the buffer is needed again. Either way the time it takes is training time: a
pause of the clock would be a place to train unseen.
"""

from dataclasses import dataclass
from typing import Any

from services.trainer.clock import BudgetClock
from services.trainer.hand_over import HandOver
from services.trainer.messages import Kept, Saved, Stored
from services.trainer.telemetry import Telemetry
from shared.contracts import Contract, Job
from shared.engines import Engine
from shared.sandbox.channel import Channel

STORED_TIMEOUT_S = 24 * 3600.0  # the supervisor keeps the time; this process ends with it


@dataclass
class Saver:
    job: Job
    recipe: Any
    engine: Engine
    clock: BudgetClock
    telemetry: Telemetry
    hand_over: HandOver
    channel: Channel
    curve_index: int = 0
    saved_at: float = 0.0
    """training seconds at the last periodic checkpoint"""
    _is_free: bool = True
    """of the buffer: nothing in it waits for the supervisor"""

    def __post_init__(self) -> None:
        self.saved_at = self.clock.seconds
        self.curve_index = self._points_passed(self.clock.progress)

    def _points_passed(self, progress: float) -> int:
        return min(int(progress * (self.job.curve_points + 1)), self.job.curve_points)

    def checkpoint_due(self) -> bool:
        every_s = self.job.checkpoints.every_s
        return every_s is not None and self.clock.seconds - self.saved_at >= every_s

    def curve_due(self, progress: float) -> bool:
        return self._points_passed(progress) > self.curve_index

    def save_checkpoint(self, step: int) -> None:
        self.saved_at = self.clock.seconds
        state = {**self.recipe.state(), "rng": self.engine.rng_state()}
        self._announce(state, Saved(step=step, loss_ema=self.telemetry.loss_ema))

    def save_curve_point(self, step: int, progress: float) -> None:
        self.curve_index = self._points_passed(progress)
        self._announce({"model": self.recipe.state()["model"]}, Kept(step=step, progress=progress))

    def hand_over_final(self) -> None:
        """The weights that are evaluated are with the supervisor when this returns."""
        self.wait()
        self.hand_over.fill({"model": self.recipe.state()["model"]})

    def _announce(self, state: dict[str, Any], message: Contract) -> None:
        self.wait()
        self.telemetry.flush()  # a checkpoint is never ahead of the telemetry
        self.hand_over.fill(state)
        self._is_free = False
        self.channel.send(message)
        if self.job.checkpoints.mode == "sync":
            self.wait()

    def wait(self) -> None:
        """Until the supervisor has stored what was announced last."""
        if not self._is_free:
            message, _ = self.channel.receive(STORED_TIMEOUT_S)
            Stored.model_validate(message)
            self._is_free = True
