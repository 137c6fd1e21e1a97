"""Stages that are formulas: they write the records a trainer and an evaluator would, and let a clock run on.

Everything else of an experiment is real: job, run directory, result. What a run comes to is a subclass's.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.contracts import EvaluationRecord, Job, Rung, RungChoice, Shape, Status, TrainingRecord
from shared.evaluation.rungs import RUNG_TOKENS, eval_signature
from shared.files import sha256_bytes, write_atomic
from shared.runs.checkpoint import CheckpointRecord, commit
from shared.runs.directory import RunDirectory, write_record
from shared.stages.executors import Watch


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class SimulatedStages(ABC):
    """An executor."""

    clock: Clock = field(default_factory=Clock)
    trained: list[Job] = field(default_factory=list)

    @abstractmethod
    def training(self, job: Job) -> TrainingRecord | None:
        """What training comes to, and with its start-up takes; None: it hangs."""

    @abstractmethod
    def evaluation(self, job: Job, training: TrainingRecord, rung: Rung) -> EvaluationRecord:
        """What scoring comes to, and in all takes."""

    def execute(self, stage: str, arguments: Sequence[str], watch: Watch) -> tuple[int, str]:
        watch(stage)
        if stage in ("trainer", "evaluator"):
            directory = RunDirectory(Path(arguments[0]))
            train_or_score = self._train if stage == "trainer" else self._score
            train_or_score(directory, arguments[1:], watch)
        return 0, ""

    def reclaim(self) -> None:  # noqa: B027
        pass

    def _train(self, directory: RunDirectory, _: Sequence[str], watch: Watch) -> None:
        job = directory.job()
        self.trained.append(job)
        while (record := self.training(job)) is None:
            self._pass(20.0, watch)
        self._pass(record.startup_seconds + record.training_seconds, watch)
        if record.status is Status.OK:
            keep_weights(directory, job, record.num_steps)
        write_record(directory.training_file, record)

    def _score(self, directory: RunDirectory, arguments: Sequence[str], watch: Watch) -> None:
        job, training = directory.job(), directory.training()
        assert training is not None
        record = self.evaluation(job, training, Rung(arguments[0] if arguments else job.rung))
        self._pass(record.total_seconds, watch)
        write_record(directory.evaluation_file, record)

    def _pass(self, seconds: float, watch: Watch) -> None:
        for _ in range(20):
            self.clock.seconds += seconds / 20
            watch("trainer")


def trained(
    shape: Shape, speed: float, seconds: float, *, startup_s: float, memory_mb: float, num_params: int | None = None
) -> TrainingRecord:
    """A run that ended well: whole steps, one at least."""
    steps = max(1, int(speed * seconds / shape.total_batch_size))
    return TrainingRecord(
        status=Status.OK,
        startup_seconds=startup_s,
        training_seconds=max(seconds, shape.total_batch_size / speed),
        num_steps=steps,
        total_tokens=steps * shape.total_batch_size,
        tok_per_sec=speed,
        peak_vram_mb=memory_mb,
        num_params=num_params,
    )


def scored(job: Job, rung: Rung, val_bpb: float, *, eval_s: float, total_s: float) -> EvaluationRecord:
    choice = RungChoice(rung=rung, status="requested", confidence="none", freshness="none", reason="asked for")
    return EvaluationRecord(
        status=Status.OK,
        val_bpb=val_bpb,
        val_bpb_upstream=val_bpb,
        rung=choice,
        num_tokens=RUNG_TOKENS[rung],
        eval_seconds=eval_s,
        total_seconds=total_s,
        eval_signature=eval_signature(),
        framework=f"{job.engine} 1.0",
    )


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
