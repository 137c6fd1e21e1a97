"""Ends a candidate's process before the machine has no memory or no disk left.

A limit on addresses does not count what files in memory, pipes and children hold. So the machine itself is looked at,
by a thread of the lab, as long as the process lives.
"""

import os
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path

import psutil

EVERY_S = 0.1
MEMORY_SHARE, DISK_BYTES = 1 / 16, 1 << 30
"""what must be left: of all memory, and on the disk of the process's scratch; half of what is there now, if that is
less"""


class Watch:
    """Of one process and all below it."""

    def __init__(self, pid: int, scratch: Path):
        self.pid, self.scratch = pid, scratch
        memory = psutil.virtual_memory()
        self.least_memory = min(int(MEMORY_SHARE * memory.total), memory.available // 2)
        self.least_disk = min(DISK_BYTES, shutil.disk_usage(scratch).free // 2)
        self.reason = ""
        """why the process was ended; empty while it was not"""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self.reason and not self._over.wait(EVERY_S):
            self.reason = self.reason_now()
            if self.reason:
                end_family(self.pid)

    def reason_now(self) -> str:
        with suppress(OSError):
            if psutil.virtual_memory().available < self.least_memory:
                return f"it was ended because this machine had less than {self.least_memory >> 20} MiB of memory left"
            if shutil.disk_usage(self.scratch).free < self.least_disk:
                return f"it was ended because this machine had less than {self.least_disk >> 20} MiB of disk left"
        return ""


def end_family(pid: int) -> None:
    """Whoever is gone already is no trouble."""
    family = []
    with suppress(psutil.NoSuchProcess):
        family = [child.pid for child in psutil.Process(pid).children(recursive=True)]
    for one in (*family, pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)
