"""How a candidate's failure is told: one status and one line, whatever was raised."""

import sys
import traceback
from contextlib import suppress
from pathlib import Path

from kernels.records import Status
from services.kernel_lab.messages import Refused
from shared.contracts import one_line

COMPILER_ERRORS = ("CompilationError", "CompileTimeAssertionFailure", "OutOfResources", "PTXASError", "InductorError")


class Refusal(Exception):
    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


def refusal(error: BaseException) -> Refused:
    """Of anything that can go wrong in this process."""
    if isinstance(error, Refusal):
        return Refused(status=error.status, reason=error.reason)
    if is_memory(error):
        return Refused(status=Status.RUNTIME_ERROR, reason="it took more memory than a candidate may")
    status = Status.COMPILE_ERROR if type(error).__name__ in COMPILER_ERRORS else Status.RUNTIME_ERROR
    return Refused(status=status, reason=describe(error))


def is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def describe(error: BaseException) -> str:
    """`NameError: name 'x' is not defined (kernel.py line 12)`, on one line."""
    where = ""
    with suppress(Exception):
        file = getattr(sys.modules.get("candidate"), "__file__", None)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f" ({Path(file).name} line {frames[-1].lineno})" if file and frames else ""
    return f"{type(error).__name__}: {one_line(str(error))[:300]}{where}"
