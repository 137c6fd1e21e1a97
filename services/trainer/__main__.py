"""Trains what one run directory asks for: `python -m services.trainer RUN_DIR`.

Exit code 0 when training ended well, 1 when it did not (training.json says how), 2 when the directory cannot
be used.
"""

import sys
from pathlib import Path

from services.trainer.supervisor import supervise
from shared.contracts import Status
from shared.runs.directory import RunDirectory
from shared.sandbox.parent_death import exit_with_parent


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m services.trainer RUN_DIR", file=sys.stderr)
        return 2
    exit_with_parent(grace_s=10.0)
    try:
        record = supervise(RunDirectory(Path(sys.argv[1]).resolve()))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or sys.argv[1]}; make room, then resume it", file=sys.stderr)
        return 2
    return 0 if record.status is Status.OK else 1


if __name__ == "__main__":
    sys.exit(main())
