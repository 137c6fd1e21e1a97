"""Measuring on this machine: each probe is an experiment like everybody's, in a run directory that is the evidence.

Outcomes are kept in a journal, so nothing is measured twice, whoever was killed in between.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from pydantic import ValidationError

from services.calibrator.measurement import Outcome, Probe
from shared.calibration.job import Calibration
from shared.contracts import Budget, EvaluationRecord, Job, Rung, RunResult, Status
from shared.experiment.run import evaluate, resume, run
from shared.files import append_line
from shared.runs.directory import RunDirectory, write_record
from shared.runs.shipped import default_recipe
from shared.settings import settings
from shared.stages.executors import Executor, Watch
from shared.unranked import BY_THE_MACHINE

ATTEMPTS = 2
"""of a probe whose end says nothing of it: somebody else used the device, or its process was killed"""
Now = Callable[[], float]
"""seconds, of a clock that never goes back"""


class OverLimit(Exception):
    """The probe took longer than it may."""


class Journal:
    """Outcomes by their probe's key, one JSON line each; the last line of a key counts."""

    def __init__(self, path: Path):
        self.path = path
        self.unreadable = 0
        self._outcomes: dict[str, Outcome] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            outcome = Outcome.model_validate_json(line)
        except ValidationError:
            self.unreadable += 1
            return
        self._outcomes[outcome.probe.key] = outcome

    def get(self, probe: Probe) -> Outcome | None:
        return self._outcomes.get(probe.key)

    def all(self) -> list[Outcome]:
        return list(self._outcomes.values())

    def append(self, outcome: Outcome) -> None:
        """Durable when it returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.path, outcome.model_dump_json(exclude_defaults=True))
        self._outcomes[outcome.probe.key] = outcome


class Experiments:
    """A Machine (services/calibrator/measurement.py): this one."""

    def __init__(self, calibration: Calibration, journal: Journal, executor: Executor, now: Now = monotonic):
        self.calibration, self.journal, self.executor, self.now = calibration, journal, executor, now
        self.memory_mb = calibration.memory_mb
        self.source = default_recipe(calibration.engine).read_bytes()

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        known = self.journal.get(probe)
        if known is not None and not _deserves_longer(known, limit_s):
            return known
        outcome = self._measured(probe, limit_s)
        self.journal.append(outcome)
        return outcome

    def score_again(
        self, run_id: str, rung: Rung, limit_s: float, eval_batch_size: int | None = None
    ) -> EvaluationRecord | None:
        """The checkpoint of a run on a rung, with another evaluation batch if one is given; None when it took longer.

        A copy of the run is scored: its own records stay what they were, whoever is killed.
        """
        deadline = self.now() + limit_s
        with copied(RunDirectory.of(run_id), eval_batch_size) as directory:
            try:
                evaluate(directory, rung, self.executor, self._watch_until(deadline))
                return directory.evaluation()
            except OverLimit:
                return None

    def run_id(self, probe: Probe) -> str:
        return f"{self.calibration.id}-{probe.key}"

    def tidy(self, keep: set[str]) -> None:
        """Drops the weights of all probes but those of the runs named; records stay."""
        for outcome in self.journal.all():
            if outcome.run_id and outcome.run_id not in keep:
                RunDirectory.of(outcome.run_id).discard_checkpoint()

    def forget(self) -> None:
        """Everything that was measured here before."""
        self.journal.path.unlink(missing_ok=True)
        self.journal = Journal(self.journal.path)
        for folder in settings().runs.glob(f"{self.calibration.id}-*"):
            shutil.rmtree(folder)

    def _measured(self, probe: Probe, limit_s: float) -> Outcome:
        started = self.now()
        directory = RunDirectory.of(self.run_id(probe))
        try:
            for _ in range(ATTEMPTS):
                result = self._run(directory, probe, started + limit_s)
                if result.void is None:
                    break
                directory.result_file.unlink(missing_ok=True)
        except OverLimit:
            return Outcome(
                probe=probe,
                status=Status.TIMED_OUT,
                reason=f"it took longer than its limit of {limit_s:.0f} s",
                run_id=directory.path.name,
                wall_seconds=self.now() - started,
            )
        return outcome_of(probe, directory, result, self.now() - started)

    def _run(self, directory: RunDirectory, probe: Probe, deadline: float) -> RunResult:
        watch = self._watch_until(deadline)
        if directory.job_file.exists():
            return resume(directory, self.executor, watch)
        shutil.rmtree(directory.path, ignore_errors=True)  # killed while it was laid out
        return run(self._job(probe), self.source, self.executor, watch)

    def _watch_until(self, deadline: float) -> Watch:
        def watch(stage: str) -> None:
            if self.now() > deadline:
                raise OverLimit

        return watch

    def _job(self, probe: Probe) -> Job:
        calibration = self.calibration
        return Job(
            run_id=self.run_id(probe),
            engine=calibration.engine,
            device=calibration.device,
            target=calibration.target,
            hardware_key=calibration.hardware_key,
            shape=probe.shape,
            dataset=calibration.dataset,
            recipe_sha=calibration.recipe_sha,
            seed=probe.seed,
            budget=Budget(seconds=probe.seconds),
            rung=probe.rung,
            eval_batch_size=probe.eval_batch_size,
            **probe.tuning.model_dump(),
        )


@contextmanager
def copied(run: RunDirectory, eval_batch_size: int | None) -> Iterator[RunDirectory]:
    """What scoring a run needs, beside it, until the end of the block."""
    copy = RunDirectory(run.path.with_name(f"{run.path.name}-again"))
    shutil.rmtree(copy.path, ignore_errors=True)
    try:
        copy.path.mkdir()
        for file in (run.recipe_file, run.training_file):
            shutil.copyfile(file, copy.path / file.name)
        shutil.copytree(run.checkpoint_dir, copy.checkpoint_dir)
        write_record(copy.job_file, run.job().model_copy(update={"eval_batch_size": eval_batch_size}))
        yield copy
    finally:
        shutil.rmtree(copy.path, ignore_errors=True)


def _deserves_longer(outcome: Outcome, limit_s: float) -> bool:
    return outcome.status is Status.TIMED_OUT and limit_s > 1.1 * outcome.wall_seconds


def outcome_of(probe: Probe, directory: RunDirectory, result: RunResult, wall_seconds: float) -> Outcome:
    training, evaluation = directory.training(), directory.evaluation()
    return Outcome(
        probe=probe,
        status=result.status,
        reason=result.reason,
        run_id=result.run_id,
        val_bpb=result.val_bpb,
        num_tokens=training.total_tokens if training else 0,
        num_steps=training.num_steps if training else 0,
        training_seconds=training.training_seconds if training else 0.0,
        tok_per_sec=result.tok_per_sec,
        peak_memory_mb=result.peak_vram_mb,
        startup_seconds=training.startup_seconds if training else 0.0,
        eval_seconds=evaluation.eval_seconds if evaluation else 0.0,
        framework=evaluation.framework if evaluation else "",
        wall_seconds=max(wall_seconds, result.total_seconds),
        disturbed=tuple(cause for cause in result.unranked if cause in BY_THE_MACHINE),
    )
