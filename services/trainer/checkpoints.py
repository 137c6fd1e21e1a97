"""When checkpoints are written during training, and how: in the loop, or from a thread on a copied state.

Either way the time it takes is training time: a pause of the clock would be a place to train unseen.
Format on disk: shared/runs/checkpoint.py.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from services.trainer.clock import BudgetClock
from services.trainer.telemetry import Telemetry
from shared.contracts import Job
from shared.engines import Engine, State
from shared.files import write_atomic
from shared.runs.checkpoint import CheckpointRecord, CurveRecord, commit, free_folder, write_arrays


class Final(NamedTuple):
    state: State
    record: dict[str, Any]
    generators: dict[str, Any]


@dataclass
class Saver:
    directory: Path
    job: Job
    recipe: Any
    engine: Engine
    clock: BudgetClock
    telemetry: Telemetry
    announce: Callable[[CheckpointRecord], None]
    """tells the supervisor, which notes its own clock"""
    curve_index: int = 0
    saved_at: float = 0.0
    """training seconds at the last periodic checkpoint"""
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    _under_way: Future | None = None

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
        self._write(self.recipe.state(), step, final=False)

    def take_final(self, step: int) -> Final:
        """The state as it is when the clock stops, in host memory."""
        self.wait()
        return Final(self.engine.snapshot(self.recipe.state()), self._record(step, final=True), self.engine.rng_state())

    def write_final(self, final: Final) -> None:
        """The checkpoint that is evaluated; on disk when this returns."""
        self._write_now(*final)

    def save_curve_point(self, step: int, progress: float) -> None:
        self.curve_index = self._points_passed(progress)
        folder = self.directory / f"curve-{self.curve_index:02d}"
        files = write_arrays(self.engine, folder, {"model": self.recipe.state()["model"]})
        record = CurveRecord(
            progress=progress, train_seconds=self.clock.seconds, step=step, sha256=files["model.safetensors"]
        )
        write_atomic(folder / "record.json", record.model_dump_json())

    def _record(self, step: int, *, final: bool) -> dict[str, Any]:
        return {
            "folder": free_folder(self.directory, step),
            "step": step,
            "tokens": self.clock.tokens,
            "next_row": step * self.job.shape.rows_per_step,
            "train_seconds": self.clock.seconds,
            "loss_ema": self.telemetry.loss_ema,
            "final": final,
            "recipe_sha": self.job.recipe_sha,
            "shape": self.job.shape,
        }

    def _write(self, state: State, step: int, *, final: bool) -> None:
        record, generators = self._record(step, final=final), self.engine.rng_state()
        if self.job.checkpoints.mode == "sync":
            self._write_now(state, record, generators)
            return
        self.wait()
        copy = self.engine.snapshot(state)
        self._under_way = self._writer.submit(self._write_now, copy, record, generators)

    def _write_now(self, state: State, record: dict[str, Any], generators: dict[str, Any]) -> None:
        groups = {"model": state["model"], "optimizer": state["optimizer"], "rng": generators}
        files = write_arrays(self.engine, self.directory / record["folder"], groups)
        checkpoint = CheckpointRecord(**record, files=files)
        commit(self.directory, checkpoint)
        self.announce(checkpoint)

    def wait(self) -> None:
        """Until the write under way is done; its error is raised here."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None
