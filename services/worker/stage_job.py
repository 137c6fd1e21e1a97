"""One stage that works on no run directory, as a job: preparing data, a calibration, a command of the kernel lab."""

import time

from services.worker.attempt import Attempt, InfrastructureFault
from services.worker.watch import WAITING, Cancelled, Slept, TookTooLong, watching
from shared.contracts import Contract, Status
from shared.stages.executors import BAD_INPUT, DEVICE_BUSY, DISK_FAULT, INTERRUPTED, Executor, Watch

DEVICE_POLL_S = 1.0


def run_stage(
    attempt: Attempt, stage: str, job: Contract, executor: Executor | None = None, limit_s: float | None = None
) -> tuple[Status, str]:
    """How it ended and its last line. InfrastructureFault: the same job is started again. limit_s: of its wall-clock,
    from when it has the device."""
    try:
        with watching(attempt, limit_s) as watch:
            code, line = _when_free(executor or attempt.executor, stage, job, watch)
    except Cancelled as cancelled:
        return Status.CANCELLED, str(cancelled)
    except TookTooLong as long:
        return Status.TIMED_OUT, str(long)
    except Slept as slept:
        raise InfrastructureFault(str(slept)) from slept
    if code < 0 or code == INTERRUPTED:
        raise InfrastructureFault(f"the {stage} was ended from outside (exit code {code})")
    if code == DISK_FAULT:
        raise InfrastructureFault(line)
    if code:
        return (Status.INVALID if code == BAD_INPUT else Status.CRASHED), line
    return Status.OK, line


def _when_free(executor: Executor, stage: str, job: Contract, watch: Watch) -> tuple[int, str]:
    """Waits as long as others of this machine use the device."""
    while True:
        code, line = executor.execute(stage, [job.model_dump_json()], watch)
        if code != DEVICE_BUSY:
            return code, line
        watch(WAITING)
        time.sleep(DEVICE_POLL_S)
