"""Who starts a stage. Native: a process of this machine. The stage's records say how it went; stdout is not read.

An executor is anything with `execute(stage, arguments, watch) -> exit code`; the spool executor of the
containers has the same shape.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from shared.machine.awake import kept_awake
from shared.sandbox.parent_death import dies_with_parent
from shared.settings import CHECKOUT
from shared.stages.table import find_stage

Watch = Callable[[str], None]
"""called with the name of the stage that runs"""

BAD_INPUT = 2
DISK_FAULT = 74
"""exit code of a stage when this machine's disk is full, or a file is closed to it (EX_IOERR of sysexits.h): nobody's
input is wrong, and with room the same command goes on
"""
DEVICE_BUSY = 75
"""exit code of a stage when somebody else has the device (EX_TEMPFAIL of sysexits.h)"""
INTERRUPTED = 130
"""exit code of a stage that was told to end and cleared up"""


class Executor(Protocol):
    def execute(self, stage: str, arguments: Sequence[str], watch: Watch) -> tuple[int, str]:
        """Runs `python -m services.<stage> <arguments>`, calls `watch` some times a second meanwhile.

        ValueError when the table has no such stage.
        Returns the exit code and the last line of stderr: one clear line when `raise_fault` raises the code.
        """

    def reclaim(self) -> None:
        """Brings home what stages of callers that died had written elsewhere."""


def raise_fault(code: int, line: str) -> None:
    """ValueError for wrong input or a device in use, OSError for the disk, with the stage's own line; else nothing."""
    if code in (BAD_INPUT, DEVICE_BUSY):
        raise ValueError(line)
    if code == DISK_FAULT:
        raise OSError(line)


MAKE_ROOM = "make room or access, or set ARE_HOME to another folder, then run it again"


def line_of(error: OSError, where: Path | str, advice: str) -> str:
    """What the disk refused and where. An error of another stage is its line, and stays as it is."""
    return f"{error.strerror}: {error.filename or where}; {advice}" if error.strerror else str(error)


SPIN_COUNT = "20000"
"""How long a CPU thread of PyTorch waits busily for the others. With GNU OpenMP's own 300,000 a training step on a
busy machine took 11 to 35 s, with this 1.5 s, and on an idle one no longer than before (m5-tiny, 2 cores)."""


class NativeExecutor:
    """A subprocess in a session of its own, so that Ctrl-C reaches the stage once, from here.

    When we die it gets SIGTERM, as from here: it ends its children, which it could not if it were killed.
    """

    def __init__(self, poll_s: float = 0.2, term_timeout_s: float = 10.0, environment: Mapping[str, str] | None = None):
        self.poll_s, self.term_timeout_s = poll_s, term_timeout_s
        self.environment = dict(environment or {})
        """what the stage gets besides this process's own"""
        self.pid: int | None = None
        """of the stage that runs"""

    def execute(self, stage: str, arguments: Sequence[str], watch: Watch) -> tuple[int, str]:
        process = subprocess.Popen(
            dies_with_parent(self.command(stage, arguments), by=signal.SIGTERM),
            cwd=CHECKOUT,
            env={"GOMP_SPINCOUNT": SPIN_COUNT, **os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = process.pid
        try:
            with kept_awake():
                stderr = self._wait(process, stage, watch)
        except BaseException:
            self._end(process)
            raise
        return process.returncode, last_line(stderr)

    def reclaim(self) -> None:
        """Native stages write into the run directory itself."""

    def command(self, stage: str, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", f"services.{find_stage(stage).folder}", *arguments]

    def _wait(self, process: subprocess.Popen, stage: str, watch: Watch) -> str:
        while True:
            try:
                return process.communicate(timeout=self.poll_s)[1]
            except subprocess.TimeoutExpired:
                watch(stage)

    def _end(self, process: subprocess.Popen) -> None:
        """The stage writes its record as cancelled and ends its children; only then is it killed."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=self.term_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
