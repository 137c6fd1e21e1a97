"""Finds a machine's platform default: python -m services.calibrator '{"calibration": {...}}'.

The argument is a CalibrateJob (shared/calibration/). Exit 0 when the default is written; 2 with one line
on stderr for what nobody can measure. Run it again after anything: it goes on where it was.
"""

import signal
import sys

from pydantic import ValidationError

from services.calibrator.calibrate import calibrate
from shared.calibration.job import DEVICE_BUSY, CalibrateJob
from shared.machine.device_lock import DeviceBusy
from shared.sandbox.parent_death import exit_with_parent, is_started_apart
from shared.settings import settings
from shared.stages.executors import Executor, NativeExecutor
from shared.stages.spool import SpoolExecutor


def parse(arguments: list[str]) -> CalibrateJob:
    """ValueError in one line."""
    if len(arguments) != 1:
        raise ValueError("one argument is needed, a CalibrateJob as JSON: autoresearch calibrate makes one")
    try:
        return CalibrateJob.model_validate_json(arguments[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "job"
        raise ValueError(f"not a valid CalibrateJob: {where}: {first['msg']}") from None


def stages_here() -> Executor:
    """In a container experiments are placed in the spools, as the worker does; elsewhere they are processes."""
    spool = settings().spool
    return NativeExecutor() if spool is None else SpoolExecutor(spool)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if is_started_apart():  # started by the console or an executor, not by hand
        exit_with_parent(grace_s=10.0)
    try:
        calibrate(parse(sys.argv[1:]), stages_here())
    except DeviceBusy as error:
        print(error, file=sys.stderr)
        return DEVICE_BUSY
    except ValueError as error:
        print("calibrator:", *str(error).split(), file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or settings().home
        hint = "make room or access, then run it again"
        print(f"calibrator: {error.strerror or error}: {where}; {hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("calibrator: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
