"""Scores the final checkpoint of one run directory: `python -m services.evaluator RUN_DIR [RUNG]`.

Exit code 0 with a number, 1 without one (evaluation.json says why), 2 when the directory cannot be used.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

from services.evaluator.evaluate import evaluate
from shared.contracts import Rung, Status
from shared.runs.directory import RunDirectory
from shared.sandbox.ending import adopt_orphans
from shared.sandbox.launch import Ended
from shared.sandbox.parent_death import exit_with_parent


def main() -> int:
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], *([rung] for rung in (*Rung, "auto"))):
        print(f"usage: python -m services.evaluator RUN_DIR [auto|{'|'.join(Rung)}]", file=sys.stderr)
        return 2
    exit_with_parent(grace_s=10.0)
    adopt_orphans()
    signal.signal(signal.SIGTERM, _cancel)
    signal.signal(signal.SIGINT, _cancel)
    try:
        record = evaluate(RunDirectory(Path(sys.argv[1]).resolve()), *sys.argv[2:])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or sys.argv[1]}; make room, then resume it", file=sys.stderr)
        return 2
    return 0 if record.status is Status.OK else 1


def _cancel(number: int, frame: FrameType | None) -> None:
    """Once: a second signal would interrupt the clearing up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Ended(Status.CANCELLED, f"cancelled by {signal.Signals(number).name}")


if __name__ == "__main__":
    sys.exit(main())
