"""Stages for tests of whole calibrations: quality, speed and memory are simple functions of the shape.

Faults are chosen by the test.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks import simulated_stages
from benchmarks.simulated_stages import scored, trained
from shared.calibration.events import read_events
from shared.calibration.job import CalibrateJob
from shared.contracts import EvaluationRecord, Job, Rung, Shape, Status, TrainingRecord
from shared.evaluation.rungs import RUNG_TOKENS
from shared.quality.model_size import model_size

VOCAB_SIZE = 512


@dataclass
class SimulatedStages(simulated_stages.SimulatedStages):
    flops: float = 2e12
    """a second"""
    memory_mb: float = 8000.0
    noise: float = 0.002
    startup_s: float = 4.0
    warm_up_steps: int = 0
    """before the clock starts; where a step takes long they are what a probe costs"""
    fault: Callable[[Job], Status | str | None] = lambda job: None
    """how a job ends instead: a status, or "hangs"; None lets it be"""

    def training(self, job: Job) -> TrainingRecord | None:
        fault = self.fault(job)
        if fault == "hangs":
            return None
        memory = memory_mb(job.shape)
        if memory > self.memory_mb:
            fault = Status.OUT_OF_MEMORY
        if isinstance(fault, Status):
            return TrainingRecord(status=fault, reason=f"simulated {fault}", startup_seconds=self.startup_s)
        speed = self.tok_per_sec(job.shape)
        return trained(
            job.shape,
            speed,
            float(job.budget.seconds or 0),
            startup_s=self.startup_s + self.warm_up_steps * job.shape.total_batch_size / speed,
            memory_mb=memory,
            num_params=model_size(job.shape, VOCAB_SIZE).num_params,
        )

    def evaluation(self, job: Job, training: TrainingRecord, rung: Rung) -> EvaluationRecord:
        seconds = RUNG_TOKENS[rung] / (3 * self.tok_per_sec(job.shape))
        bpb = val_bpb(job.shape, training.total_tokens) + self.noise * normal(job, rung)
        return scored(job, rung, bpb, eval_s=seconds, total_s=2.0 + seconds)

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


def failing_in(phase: str, asked: CalibrateJob, fault: Status | str) -> SimulatedStages:
    """Every probe of that phase ends so, all others are let be."""

    def now(job: Job) -> Status | str | None:
        events, _ = read_events(asked.place)
        current = next((event.phase for event in reversed(events) if event.kind == "phase"), "")
        return fault if current == phase else None

    return SimulatedStages(fault=now)
