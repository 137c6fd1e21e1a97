"""A calibration as a job: the calibrator holds the device and places its own experiments; this only asks and waits.

It has no network, so what the fleet's runs scored is brought to it as a file. Its default is written down in Redis,
where others judge by its noise floor, and copied to MLflow for people.
"""

from services.worker.attempt import Attempt
from services.worker.stage_job import run_stage
from shared.calibration.events import read_default_of
from shared.calibration.folder import fleet_rows_file
from shared.calibration.job import CalibrateJob
from shared.contracts import Status
from shared.experiment.platform_default import PlatformDefault
from shared.fleet.platform_defaults import publish
from shared.fleet.store import FleetStore
from shared.quality import rows_of_results, write_rows

NEWEST = 2000
"""jobs of the fleet that are looked at: a quality table uses 250 rows"""


def run_calibration(attempt: Attempt, job: CalibrateJob) -> tuple[Status, str]:
    """How it ended and one line about it. InfrastructureFault: the next attempt goes on where it was."""
    bring_fleet_rows(attempt.store)
    status, line = run_stage(attempt, "calibrator", job)
    if status is not Status.OK:
        return status, line
    from shared.tracking import keep_calibration_for_later

    keep_calibration_for_later(job.place)
    default = read_default_of(job.place)
    publish(attempt.store.connection, default)
    return Status.OK, said_of(default)


def said_of(default: PlatformDefault) -> str:
    """One line."""
    head, expects = f"platform default of {default.hardware_key}: {default.family}", default.expects
    if expects is None:
        return f"{head}, confidence {default.confidence}: {default.reason}; next: {default.next_step}"
    said = f"expects val_bpb {expects.val_bpb:.4f} +- {expects.spread:.4f}"
    return f"{head}, {said}, confidence {default.confidence}"


def bring_fleet_rows(store: FleetStore) -> None:
    """What the accepted runs of the fleet say. Nobody but a worker can have written them down."""
    rows = rows_of_results(store.recent_results(NEWEST))
    write_rows(fleet_rows_file(), rows[::-1])
