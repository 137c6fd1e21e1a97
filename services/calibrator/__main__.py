"""Finds a machine's platform default: python -m services.calibrator '{"calibration": {...}}'.

The argument is a CalibrateJob (shared/calibration/). Exit 0 when the default is written; the other exit codes are
those of shared/stages/job_command.py. Run it again after anything: it goes on where it was.
"""

import sys

from services.calibrator.calibrate import calibrate
from shared.calibration.job import CalibrateJob
from shared.stages.job_command import job_exit_code, parse_job, stages_here


def main() -> None:
    calibrate(parse_job(CalibrateJob, sys.argv[1:], "autoresearch calibrate"), stages_here())


if __name__ == "__main__":
    sys.exit(job_exit_code(main))
