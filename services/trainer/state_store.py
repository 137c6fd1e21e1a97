"""The supervisor's side of the hand-over: it owns the memory the state is copied into, and alone writes checkpoints.

A checkpoint is worth the training seconds of the moment at which it was on disk: until then its content could change.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import psutil

from shared.contracts import Job, Status, TrainingRecord
from shared.engines.shared_buffer import HostBuffer
from shared.runs.checkpoint import (
    CheckpointRecord,
    CurveRecord,
    commit,
    drop_points_beyond,
    free_folder,
    write_groups,
)
from shared.runs.directory import RunDirectory, write_record
from shared.runs.layout import ArraySpec, Layout, lay_out
from shared.sandbox.launch import Ended

MEMORY_SHARE = 0.9
RECORD = "training.json"
"""beside the final weights"""


class StateStore:
    """As a context manager it waits for the write under way and gives the memory back."""

    def __init__(self, run: RunDirectory, job: Job, seconds: Callable[[], float]):
        self.run, self.job, self.seconds = run, job, seconds
        self.layout = Layout({}, 0)
        self.buffer: HostBuffer | None = None
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: Future[None] | None = None
        self._num_points = 0

    def __enter__(self) -> "StateStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown(wait=True)
        if self.buffer:
            self.buffer.close()

    def go_on_from(self, restored: CheckpointRecord | None) -> None:
        """Keeps those points of the curve that belong to it. Comes before the recipe's process starts."""
        self._num_points = drop_points_beyond(self.run.checkpoint_dir, restored)

    def open(self, specs: Mapping[str, tuple[ArraySpec, ...]]) -> int:
        """The descriptor to hand out. Ended when the state is not one that can be stored or does not fit."""
        try:
            self.layout = lay_out(specs)
        except ValueError as error:
            raise Ended(Status.INVALID, f"state() cannot be handed over: {error}") from None
        available = MEMORY_SHARE * psutil.virtual_memory().available
        if self.layout.num_bytes > available:
            reason = f"handing the state over takes {_gib(self.layout.num_bytes)} of this machine's memory"
            raise Ended(Status.OUT_OF_MEMORY, f"{reason}, {_gib(available)} are free: use a smaller shape")
        self.buffer = HostBuffer.create(self.layout.num_bytes)
        return self.buffer.descriptor

    def num_elements(self, group: str) -> int:
        return sum(math.prod(place.spec.shape) for place in self.layout.groups[group].places)

    def is_writing(self) -> bool:
        return self._under_way is not None

    def finished(self) -> bool:
        """True once for each write. OSError when the disk refused it."""
        if self._under_way is None or not self._under_way.done():
            return False
        done, self._under_way = self._under_way, None
        done.result()
        return True

    def save_checkpoint(self, step: int, loss_ema: float) -> None:
        """The whole state, from a thread: the clock and the limits go on being watched."""
        self._start(lambda: self._write_checkpoint(step, loss_ema))

    def save_curve_point(self, step: int, progress: float) -> None:
        """Ended for more points than the job asked for."""
        self._num_points += 1
        if self._num_points > self.job.curve_points:
            reason = f"point {self._num_points} of a curve of {self.job.curve_points}"
            raise Ended(Status.REJECTED, f"the recipe's process broke the protocol: {reason}")
        self._start(lambda: self._write_curve_point(step, progress))

    def save_final(self, step: int, training: TrainingRecord) -> None:
        """The weights, which is all that is evaluated, and how they were trained; on disk when it returns.

        One commit makes both count: whoever finds the checkpoint after a kill has the record too. OSError when the
        disk refuses them.
        """
        self._writer.shutdown(wait=True)
        folder = free_folder(self.run.checkpoint_dir, step)
        files = self._write_groups(folder, ("model",))
        write_record(self.run.checkpoint_dir / folder / RECORD, training)
        self._commit(folder, step, files, train_seconds=training.training_seconds, loss_ema=0.0, final=True)

    def _start(self, write: Callable[[], None]) -> None:
        if self._under_way is not None:
            raise Ended(Status.REJECTED, "the recipe's process announced a checkpoint while another one was written")
        self._under_way = self._writer.submit(write)

    def _write_checkpoint(self, step: int, loss_ema: float) -> None:
        folder = free_folder(self.run.checkpoint_dir, step)
        files = self._write_groups(folder, tuple(self.layout.groups))
        self._commit(folder, step, files, train_seconds=self.seconds(), loss_ema=loss_ema, final=False)

    def _commit(
        self, folder: str, step: int, files: dict[str, str], *, train_seconds: float, loss_ema: float, final: bool
    ) -> None:
        record = CheckpointRecord(
            folder=folder,
            step=step,
            tokens=step * self.job.shape.total_batch_size,
            next_row=step * self.job.shape.rows_per_step,
            train_seconds=train_seconds,
            loss_ema=loss_ema,
            final=final,
            recipe_sha=self.job.recipe_sha,
            shape=self.job.shape,
            files=files,
        )
        commit(self.run.checkpoint_dir, record)

    def _write_curve_point(self, step: int, progress: float) -> None:
        folders = self.run.checkpoint_dir.glob("curve-*")
        folder = f"curve-{1 + len(list(folders)):02d}"
        train_seconds = self.seconds()
        files = self._write_groups(folder, ("model",))
        record = CurveRecord(
            progress=progress, train_seconds=train_seconds, step=step, sha256=files["model.safetensors"]
        )
        write_record(self.run.checkpoint_dir / folder / "record.json", record)

    def _write_groups(self, folder: str, groups: tuple[str, ...]) -> dict[str, str]:
        assert self.buffer is not None, "open() comes first"
        chosen = {name: self.layout.groups[name] for name in groups}
        return write_groups(self.run.checkpoint_dir / folder, chosen, self.buffer)


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
