"""An experiment as an attempt of a job: waits for the device, goes on where a dead attempt stopped, delivers."""

import shutil
import time

from services.worker.attempt import Attempt, InfrastructureFault, deliver, is_void, open_note, outcome_of, settle
from services.worker.recovery import end_stages_of_dead_attempts
from services.worker.watch import WAITING, Cancelled, Slept, watching
from shared.contracts import Job, RunResult, Status, TrainingRecord, VoidCause
from shared.experiment import run as experiment
from shared.fleet.contracts import Outcome, Verdict
from shared.machine.device_lock import DeviceBusy
from shared.runs import checkpoint
from shared.runs.directory import RunDirectory, write_record
from shared.runs.pruning import retain
from shared.stages.executors import Watch

DEVICE_POLL_S = 0.5


def run_attempt(attempt: Attempt, job: Job, source: bytes) -> Outcome:
    """InfrastructureFault when the job is to be started again; any other end is delivered."""
    job = job.model_copy(update={"run_id": attempt.record.run_id})
    open_note(attempt.record)
    end_stages_of_dead_attempts(attempt)
    try:
        with watching(attempt) as watch:
            result = _run(attempt, job, source, watch)
    except Cancelled as cancelled:
        result = ended_early(attempt.directory, job, source, str(cancelled))
    except Slept as slept:
        result = ended_early(attempt.directory, job, source, str(slept), VoidCause.HOST_SLEPT)
    except (ValueError, OSError) as error:
        # the job was checked before: this is the disk, the device or the dataset of this host
        raise InfrastructureFault(" ".join(str(error).split())) from error
    if attempt.retries_left and is_void(result):
        settle(attempt.record, Verdict.VOID)
        raise InfrastructureFault(result.reason)
    deliver(attempt.record, result, attempt.store)
    retain()
    return outcome_of(attempt.record, result)


def _run(attempt: Attempt, job: Job, source: bytes, watch: Watch) -> RunResult:
    """Waits as long as others of this machine use the device."""
    directory = attempt.directory
    attempt.executor.reclaim()
    if earlier := dead_attempt(attempt, job):
        take_over(earlier, directory, job, source)
    while True:
        try:
            if directory.job_file.exists():
                return experiment.resume(directory, attempt.executor, watch)
            return experiment.run(job, source, attempt.executor, watch)
        except DeviceBusy:
            watch(WAITING)
            time.sleep(DEVICE_POLL_S)


def dead_attempt(attempt: Attempt, job: Job) -> RunDirectory | None:
    """The newest earlier attempt of the same job on this host that came to no end of its own and left a checkpoint."""
    for number in range(attempt.record.number - 1, 0, -1):
        directory = RunDirectory.of(f"{attempt.record.job_id}-a{number}")
        if not directory.job_file.exists() or directory.in_use() or not was_interrupted(directory):
            continue
        same = {"run_id": job.run_id, "choices": job.choices}
        if directory.job().model_copy(update=same) == job and _can_go_on(directory):
            return directory
    return None


def was_interrupted(directory: RunDirectory) -> bool:
    """Killed before it had a result, or its executor was stopped. What slept or shared the device is no start."""
    try:
        result = directory.result()
    except ValueError:
        return False
    return result is None or result.void is VoidCause.EXECUTOR_LOST


def _can_go_on(directory: RunDirectory) -> bool:
    """There is a whole checkpoint. It says how much training time it is worth."""
    try:
        return checkpoint.latest(directory.checkpoint_dir) is not None
    except (ValueError, OSError):
        return False


def take_over(earlier: RunDirectory, directory: RunDirectory, job: Job, source: bytes) -> None:
    """A copy of what training goes on from: what is left of the dead attempt can change nothing here."""
    directory.create(job, source)
    kept = [earlier.metrics_file]
    training = earlier.training()
    if training is not None and training.status is Status.OK:
        kept.append(earlier.training_file)
    for file in kept:
        if file.is_file() and not file.is_symlink():
            shutil.copy2(file, directory.path / file.name)
    shutil.copytree(earlier.checkpoint_dir, directory.checkpoint_dir, symlinks=True)


def ended_early(
    directory: RunDirectory, job: Job, source: bytes, reason: str, void: VoidCause | None = None
) -> RunResult:
    """The record of an experiment that was stopped from here, at whatever point that was."""
    if not directory.job_file.exists():
        directory.create(job, source)
    seen = directory.training() or TrainingRecord(status=Status.CANCELLED)
    training = seen.model_copy(update={"status": Status.CANCELLED, "reason": reason, "void": void})
    total_seconds = training.startup_seconds + training.training_seconds + training.finish_seconds
    result = experiment.gather(job, training, None, total_seconds)
    write_record(directory.result_file, result)
    return result
