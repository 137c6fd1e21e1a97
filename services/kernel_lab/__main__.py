"""Carries out one command of the kernel lab: python -m services.kernel_lab '{"command": {...}}'.

The argument is a LabJob, the answer a LabAnswer (shared/kernel_lab/). Exit 0 when the answer is written, whatever it
says; 2 with one line on stderr for wrong input; 75 when somebody else has the device.
"""

import signal
import sys

from pydantic import ValidationError

from services.kernel_lab.commands import carry_out
from services.kernel_lab.desk import Desk
from shared.kernel_lab.job import DEVICE_BUSY, LabJob, leave_answer
from shared.machine.device_lock import DeviceBusy
from shared.sandbox.parent_death import exit_with_parent, is_started_apart
from shared.settings import settings
from shared.stages.executors import Executor, NativeExecutor
from shared.stages.spool import SpoolExecutor


def parse(arguments: list[str]) -> LabJob:
    """ValueError in one line."""
    if len(arguments) != 1:
        raise ValueError("one argument is needed, a LabJob as JSON: autoresearch lab makes one")
    try:
        return LabJob.model_validate_json(arguments[0])
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"not a valid LabJob: {'.'.join(map(str, first['loc'])) or 'job'}: {first['msg']}") from None


def stages_here() -> Executor:
    """In a container experiments are placed in the spools, as the worker does; elsewhere they are processes."""
    spool = settings().spool
    return NativeExecutor() if spool is None else SpoolExecutor(spool)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if is_started_apart():  # started by the console or an executor, not by hand
        exit_with_parent(grace_s=10.0)
    try:
        job = parse(sys.argv[1:])
        leave_answer(job, carry_out(job, Desk(job.id, stages_here(), holds_device=job.holds_device)))
    except DeviceBusy as error:
        print(error, file=sys.stderr)
        return DEVICE_BUSY
    except ValueError as error:
        print("kernel lab:", *str(error).split(), file=sys.stderr)
        return 2
    except OSError as error:
        hint = "make room or access, then run it again"
        print(f"kernel lab: {error.strerror or error}: {error.filename or settings().home}; {hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("kernel lab: interrupted; run the same command again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
