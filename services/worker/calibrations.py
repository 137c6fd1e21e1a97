"""A calibration as a job: the calibrator holds the device and places its own experiments; this only asks and waits.

It has no network, so what the fleet's runs scored is brought to it as a file, and its default is taken to MLflow.
"""

import sys
import time

from services.worker.attempt import Attempt, InfrastructureFault
from services.worker.watch import WAITING, Slept, watching
from shared.calibration.events import read_default_of
from shared.calibration.folder import fleet_rows_file
from shared.calibration.job import DEVICE_BUSY, CalibrateJob
from shared.contracts import Status
from shared.quality import write_rows
from shared.stages.executors import BAD_INPUT, Watch

DEVICE_POLL_S = 1.0
INTERRUPTED = 130
"""the exit code of a calibrator that was told to end, which a wish of ours never leaves behind"""


def run_calibration(attempt: Attempt, job: CalibrateJob) -> tuple[Status, str]:
    """How it ended and one line about it. Cancelled passes; InfrastructureFault: the same job goes on later."""
    bring_fleet_rows()
    try:
        with watching(attempt) as watch:
            code, line = _execute(attempt, job, watch)
    except Slept as slept:
        raise InfrastructureFault(str(slept)) from slept
    if code < 0 or code == INTERRUPTED:
        raise InfrastructureFault("the calibrator was ended from outside; the next attempt continues it")
    if code:
        return (Status.INVALID if code == BAD_INPUT else Status.CRASHED), line
    from shared.tracking import keep_calibration_for_later

    keep_calibration_for_later(job.place)
    default = read_default_of(job.place)
    said = f"{default.family}, expects val_bpb {default.val_bpb:.4f} +- {default.spread:.4f}"
    return Status.OK, f"platform default of {default.hardware_key}: {said}, confidence {default.confidence}"


def _execute(attempt: Attempt, job: CalibrateJob, watch: Watch) -> tuple[int, str]:
    """Waits as long as others of this machine use the device."""
    while True:
        code, line = attempt.executor.execute("calibrator", [job.model_dump_json()], watch)
        if code != DEVICE_BUSY:
            return code, line
        watch(WAITING)
        time.sleep(DEVICE_POLL_S)


def bring_fleet_rows() -> None:
    """An MLflow that is away costs the calibration what others measured, no more."""
    from shared.tracking.fleet_rows import fleet_rows
    from shared.tracking.mlflow_store import Unreachable

    try:
        write_rows(fleet_rows_file(), fleet_rows())
    except Unreachable as error:
        print(f"calibrating without the fleet's runs: {error}", file=sys.stderr, flush=True)
