"""What the command of a stage does around its work: signals become an end, and errors become an exit code."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from shared.contracts import EvaluationRecord, Status, TrainingRecord
from shared.sandbox.launch import Ended
from shared.stages.executors import BAD_INPUT, DISK_FAULT, line_of


def exit_code(work: Callable[[], TrainingRecord | EvaluationRecord], run_directory: str) -> int:
    """0 when the record is of a good end, 1 of another; BAD_INPUT or DISK_FAULT and a line when there is none."""
    try:
        record = work()
    except ValueError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(line_of(error, run_directory, "make room, then resume it"), file=sys.stderr)
        return DISK_FAULT
    return 0 if record.status is Status.OK else 1


def leave(code: int) -> NoReturn:
    """Ends the process after its work, whose contexts have cleared up and whose records are on the disk. Freeing what
    an interpreter with PyTorch in it holds would take another 0.4 s of every experiment."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_on_signals() -> None:
    """From here on SIGTERM and SIGINT raise Ended with status cancelled."""
    signal.signal(signal.SIGTERM, _cancel)
    signal.signal(signal.SIGINT, _cancel)


def _cancel(number: int, frame: FrameType | None) -> None:
    """Once: a second signal would interrupt the clearing up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Ended(Status.CANCELLED, f"cancelled by {signal.Signals(number).name}")
