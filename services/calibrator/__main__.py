"""Finds a machine's platform default: python -m services.calibrator FOLDER [--force].

The folder holds calibration.json (shared/experiment/calibration.py). Exit 0 when the default is written; 2 with one
line on stderr for what nobody can measure. Run it again after anything: it goes on where it was.
"""

import signal
import sys
from pathlib import Path

from services.calibrator.calibrate import calibrate
from shared.experiment.calibration import read_calibration
from shared.stages.executors import NativeExecutor


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = [argument for argument in sys.argv[1:] if argument != "--force"]
    if len(arguments) != 1:
        print("usage: python -m services.calibrator FOLDER [--force]", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).absolute()
    try:
        calibrate(folder, read_calibration(folder), NativeExecutor(), force="--force" in sys.argv[1:])
    except ValueError as error:
        print("calibrator:", *str(error).split(), file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or folder
        print(
            f"calibrator: {error.strerror or error}: {where}; make room or access, then run it again", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print("calibrator: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
