"""Stages that are formulas: they write the records a trainer and an evaluator would, and let a clock run on.

Everything else is real: jobs, run directories, journal, phases. Quality, speed and memory are simple functions of the
shape; faults are chosen by the test.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shared.calibration.events import read_events
from shared.calibration.job import CalibrateJob
from shared.contracts import EvaluationRecord, Job, Rung, RungChoice, Shape, Status, TrainingRecord
from shared.evaluation.rungs import RUNG_TOKENS, eval_signature
from shared.files import sha256_bytes, write_atomic
from shared.quality.model_size import model_size
from shared.runs.checkpoint import CheckpointRecord, commit
from shared.runs.directory import RunDirectory, write_record
from shared.stages.executors import Watch

VOCAB_SIZE = 512


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class SimulatedStages:
    """An executor."""

    clock: Clock = field(default_factory=Clock)
    flops: float = 2e12
    """a second"""
    memory_mb: float = 8000.0
    noise: float = 0.002
    startup_s: float = 4.0
    warm_up_steps: int = 0
    """before the clock starts; where a step takes long they are what a probe costs"""
    fault: Callable[[Job], Status | str | None] = lambda job: None
    """how a job ends instead: a status, or "hangs"; None lets it be"""
    trained: list[Job] = field(default_factory=list)

    def execute(self, stage: str, arguments: Sequence[str], watch: Watch) -> tuple[int, str]:
        watch(stage)
        if stage in ("trainer", "evaluator"):
            directory = RunDirectory(Path(arguments[0]))
            train_or_score = self._train if stage == "trainer" else self._score
            train_or_score(directory, arguments[1:], watch)
        return 0, ""

    def reclaim(self) -> None:
        pass

    def _train(self, directory: RunDirectory, _: Sequence[str], watch: Watch) -> None:
        job = directory.job()
        self.trained.append(job)
        fault = self.fault(job)
        while fault == "hangs":
            self._pass(20.0, watch)
        memory = memory_mb(job.shape)
        if memory > self.memory_mb:
            fault = Status.OUT_OF_MEMORY
        if isinstance(fault, Status):
            self._pass(self.startup_s, watch)
            write_record(directory.training_file, TrainingRecord(status=fault, reason=f"simulated {fault}"))
            return
        seconds = float(job.budget.seconds or 0)
        speed = self.tok_per_sec(job.shape)
        self._pass(self.startup_s + self.warm_up_steps * job.shape.total_batch_size / speed + seconds, watch)
        steps = max(1, int(speed * seconds / job.shape.total_batch_size))
        record = TrainingRecord(
            status=Status.OK,
            startup_seconds=self.startup_s,
            training_seconds=seconds,
            num_steps=steps,
            total_tokens=steps * job.shape.total_batch_size,
            tok_per_sec=speed,
            peak_vram_mb=memory,
            num_params=model_size(job.shape, VOCAB_SIZE).num_params,
        )
        keep_weights(directory, job, steps)
        write_record(directory.training_file, record)

    def _score(self, directory: RunDirectory, arguments: Sequence[str], watch: Watch) -> None:
        job, training = directory.job(), directory.training()
        assert training is not None
        rung = Rung(arguments[0] if arguments else job.rung)
        seconds = RUNG_TOKENS[rung] / (3 * self.tok_per_sec(job.shape))
        self._pass(2.0 + seconds, watch)
        bpb = val_bpb(job.shape, training.total_tokens) + self.noise * normal(job, rung)
        choice = RungChoice(rung=rung, status="requested", confidence="none", freshness="none", reason="asked for")
        record = EvaluationRecord(
            status=Status.OK,
            val_bpb=bpb,
            val_bpb_upstream=bpb,
            rung=choice,
            num_tokens=RUNG_TOKENS[rung],
            eval_seconds=seconds,
            total_seconds=2.0 + seconds,
            eval_signature=eval_signature(),
            framework=f"{job.engine} 1.0",
        )
        write_record(directory.evaluation_file, record)

    def _pass(self, seconds: float, watch: Watch) -> None:
        for _ in range(20):
            self.clock.seconds += seconds / 20
            watch("trainer")

    def tok_per_sec(self, shape: Shape) -> float:
        tokens = shape.device_batch_size * shape.seq_len
        return self.flops / model_size(shape, VOCAB_SIZE).flops_per_token * tokens / (tokens + 1000)


def memory_mb(shape: Shape) -> float:
    tokens = shape.device_batch_size * shape.seq_len
    return 16 * model_size(shape, VOCAB_SIZE).num_params / 2**20 + tokens * shape.depth * shape.d_model * 40 / 2**20


def val_bpb(shape: Shape, num_tokens: int) -> float:
    """Larger models learn more in the end and need more tokens for it; few steps cost."""
    size = model_size(shape, VOCAB_SIZE).num_params / 1e6
    few_steps = 0.3 * (20 * shape.total_batch_size / num_tokens) ** 0.7
    return 0.8 + 0.9 * size**-0.25 + 1.2 * (num_tokens / 1e6) ** -0.35 * size**0.1 + few_steps


def normal(job: Job, rung: Rung) -> float:
    digest = hashlib.sha256(f"{job.shape}{job.seed}{job.budget}{rung}".encode()).digest()
    return float(np.random.default_rng(int.from_bytes(digest[:8])).normal())


def keep_weights(directory: RunDirectory, job: Job, steps: int) -> None:
    folder = directory.checkpoint_dir / f"step-{steps:08d}"
    folder.mkdir(parents=True)
    write_atomic(folder / "model.safetensors", b"weights")
    record = CheckpointRecord(
        folder=folder.name,
        step=steps,
        tokens=steps * job.shape.total_batch_size,
        next_row=0,
        train_seconds=float(job.budget.seconds or 0),
        loss_ema=1.0,
        final=True,
        recipe_sha=job.recipe_sha,
        shape=job.shape,
        files={"model.safetensors": sha256_bytes(b"weights")},
    )
    commit(directory.checkpoint_dir, record)


def failing_in(phase: str, asked: CalibrateJob, fault: Status | str) -> SimulatedStages:
    """Every probe of that phase ends so, all others are let be."""

    def now(job: Job) -> Status | str | None:
        events, _ = read_events(asked.place)
        current = next((event.phase for event in reversed(events) if event.kind == "phase"), "")
        return fault if current == phase else None

    return SimulatedStages(fault=now)
