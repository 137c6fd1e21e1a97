"""What the recipe's process does: build, warm up, wait for the rows, train. Runs fenced; see recipe_process.py."""

import errno
import math
import os
from pathlib import Path
from typing import Any

from services.trainer.checkpoints import Saver
from services.trainer.clock import BudgetClock
from services.trainer.loop import Diverged, Loop
from services.trainer.messages import Checkpointed, Failed, Finished, Ready, Rows, Start, Trained
from services.trainer.telemetry import Telemetry
from services.trainer.warmup import warm_up
from shared.contracts import Choice, Status
from shared.data.rows import Rows as PackedRows
from shared.engines import open_engine
from shared.experiment.recipe import InvalidRecipe, blaming, check_protocol, describe_error, load_recipe
from shared.runs import checkpoint
from shared.sandbox.channel import Channel

HAND_OVER_TIMEOUT_S = 60.0


class Session:
    """One training run as this process sees it."""

    def __init__(self, channel: Channel, request: dict, metrics_fd: int, sandboxed: Choice):
        self.channel, self.start = channel, Start.model_validate(request)
        self.job = self.start.job
        self.metrics_fd, self.sandboxed = metrics_fd, sandboxed
        self.engine: Any = None
        self.recipe: Any = None
        self.restored: checkpoint.CheckpointRecord | None = None
        self.peak_flops = 0.0
        self.flops_per_token: float | None = None

    def run(self) -> None:
        self._build()
        self.channel.send(self._ready())
        message, (rows_fd,) = self.channel.receive(HAND_OVER_TIMEOUT_S)
        self._train(Rows.model_validate(message), rows_fd)

    def failure(self, error: Exception) -> Failed:
        if isinstance(error, InvalidRecipe):
            return Failed(status=Status.INVALID, reason=str(error))
        if isinstance(error, Diverged):
            return Failed(status=Status.DIVERGED, reason=str(error))
        if self.engine is not None and self.engine.is_out_of_memory(error):
            return Failed(status=Status.OUT_OF_MEMORY, reason=f"{self.job.device} is full with {self.job.shape}")
        disk_full = os.strerror(errno.ENOSPC) in str(error)  # safetensors raises its own class, not OSError
        return Failed(status=Status.CRASHED, reason=describe_error(error), disk_full=disk_full)

    def _build(self) -> None:
        job = self.job
        self.engine = open_engine(job.engine, job.device, dtype=job.dtype, compile=job.compile)
        self.peak_flops = self.start.peak_flops or self.engine.matmul_flops()
        self.engine.seed(job.seed)
        module = load_recipe(Path(self.start.recipe))
        with blaming("build() failed", unless=self.engine.is_out_of_memory):
            self.recipe = module.build(job.shape, self.start.vocab_size, job.seed, self.engine.handle)
        check_protocol(self.recipe)
        if self.start.resume:
            self._restore(Path(self.start.checkpoint_dir))
        warm_up(self.recipe, self.engine, job, self.start.vocab_size)
        if hasattr(self.recipe, "flops_per_token"):
            self.flops_per_token = float(self.recipe.flops_per_token())

    def _restore(self, directory: Path) -> None:
        self.restored = checkpoint.latest(directory)
        assert self.restored is not None, "the supervisor asks for a resume only when there is a checkpoint"
        arrays = checkpoint.read_arrays(self.engine, directory / self.restored.folder, ("model", "optimizer", "rng"))
        self.engine.set_rng_state(arrays.pop("rng"))
        with blaming("load() failed"):
            self.recipe.load(arrays)

    def _ready(self) -> Ready:
        attention = [choice.chosen for choice in self.engine.choices if choice.what == "attention_backend"]
        return Ready(
            num_params=sum(math.prod(array.shape) for array in self.recipe.state()["model"].values()),
            flops_per_token=self.flops_per_token,
            peak_flops=self.peak_flops,
            attention_backend=attention[-1] if attention else None,
            resumed_from_step=self.restored.step if self.restored else None,
            choices=(self.sandboxed, *self.engine.choices),
        )

    def _train(self, handed: Rows, rows_fd: int) -> None:
        rows = PackedRows.from_descriptor(rows_fd, handed.num_rows, handed.seq_len)
        tokens = self.restored.tokens if self.restored else 0
        clock = BudgetClock(self.job.budget, handed.spent_seconds, tokens)
        with os.fdopen(self.metrics_fd, "w", encoding="utf-8") as metrics:
            telemetry = Telemetry(metrics, self.job.shape.total_batch_size, self.flops_per_token, self.peak_flops)
            telemetry.loss_ema = self.restored.loss_ema if self.restored else 0.0
            saver = Saver(
                Path(self.start.checkpoint_dir), self.job, self.recipe, self.engine, clock, telemetry, self._announce
            )
            loop = Loop(self.recipe, self.engine, rows, self.job.shape, clock, telemetry, saver)
            num_steps = loop.run()
            final = saver.take_final(num_steps)
            self.channel.send(Trained(num_steps=num_steps, total_tokens=clock.tokens, train_seconds=clock.seconds))
            saver.write_final(final)
        self.channel.send(
            Finished(
                last_loss=telemetry.last_loss,
                input_percent=telemetry.input_percent,
                peak_vram_mb=telemetry.peak_memory_mb,
            )
        )

    def _announce(self, record: checkpoint.CheckpointRecord) -> None:
        if not record.final:
            self.channel.send(Checkpointed(folder=record.folder, step=record.step))
