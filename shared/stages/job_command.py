"""What the command of a stage does around its work when it takes a job as JSON and no run directory: it reads the job,
finds the executor of the experiments that it places, and turns errors into exit codes."""

import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from shared.contracts import Contract
from shared.invalid import first_wrong
from shared.machine.device_lock import DeviceBusy
from shared.sandbox.parent_death import exit_with_parent, is_started_apart
from shared.settings import settings
from shared.stages.executors import (
    BAD_INPUT,
    DEVICE_BUSY,
    DISK_FAULT,
    INTERRUPTED,
    MAKE_ROOM,
    Executor,
    NativeExecutor,
    line_of,
)
from shared.stages.spool import SpoolExecutor

JobModel = TypeVar("JobModel", bound=Contract)


def parse_job(model: type[JobModel], arguments: list[str], maker: str) -> JobModel:
    """ValueError in one line. maker: the command that makes such a job."""
    if len(arguments) != 1:
        raise ValueError(f"one argument is needed, the JSON of one {model.__name__}: {maker} makes it")
    try:
        return model.model_validate_json(arguments[0])
    except ValidationError as error:
        raise ValueError(f"not a valid {model.__name__}: {first_wrong(error, 'job')}") from None


def stages_here() -> Executor:
    """In a container experiments are placed in the spools, as the worker does; elsewhere they are processes."""
    spool = settings().spool
    return NativeExecutor() if spool is None else SpoolExecutor(spool)


def end_with_starter() -> None:
    """A command that was started by the console or an executor, not by hand, ends with them."""
    if is_started_apart():
        exit_with_parent(grace_s=10.0)


def job_exit_code(work: Callable[[], object]) -> int:
    """0 when the work was done, whatever came of it; else BAD_INPUT, DEVICE_BUSY, DISK_FAULT or INTERRUPTED, and one
    line on stderr. From here on SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_starter()
    try:
        work()
    except DeviceBusy as error:
        print(error, file=sys.stderr)
        return DEVICE_BUSY
    except ValueError as error:
        print(*str(error).split(), file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(line_of(error, settings().home, MAKE_ROOM), file=sys.stderr)
        return DISK_FAULT
    except KeyboardInterrupt:
        print("interrupted; run the same command again", file=sys.stderr)
        return INTERRUPTED
    return 0
