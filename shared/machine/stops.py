"""Was this process stopped for a while, alone or with its whole machine? What was timed meanwhile says nothing.

A suspended machine is told by its clocks. A frozen virtual machine, a paused container or a stopped process is told by
a thread that wants to run twice a second and could not. Waiting for a processor is no stop: a recipe can take them all.
"""

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LONGEST_STOP_S = 2.0
"""a stop that is longer spoils what was measured meanwhile"""
LOOK_EVERY_S = 0.5


class Stops:
    """As a context manager it watches as long as the block runs."""

    def __init__(self) -> None:
        self.asleep_before = seconds_asleep()
        self.longest_stall_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stops", daemon=True)

    def __enter__(self) -> "Stops":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def reason(self) -> str:
        """One line of why what was measured until now is void; empty when nothing was stopped."""
        asleep_s = seconds_asleep() - self.asleep_before
        if asleep_s > LONGEST_STOP_S:
            return f"void: this machine slept for {asleep_s:.0f} s; run it again"
        if self.longest_stall_s > LONGEST_STOP_S:
            stall = f"void: this process was stopped for {self.longest_stall_s:.0f} s"
            return f"{stall}, by a frozen machine, a paused container or a signal; run it again"
        return ""

    def _watch(self) -> None:
        looked_at, waited_s = time.monotonic(), seconds_waited()
        while not self._over.wait(LOOK_EVERY_S):
            now, waited_now_s = time.monotonic(), seconds_waited()
            stall_s = now - looked_at - LOOK_EVERY_S - max(0.0, waited_now_s - waited_s)
            self.longest_stall_s = max(self.longest_stall_s, stall_s)
            looked_at, waited_s = now, waited_now_s


def seconds_waited(threads: Path = Path("/proc/self/task")) -> float:
    """How long this process's threads were ready to run and got no processor, all together: one that waits may hold a
    lock that others wait for. 0 where the kernel does not tell."""
    waited_ns = 0
    for file in threads.glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            waited_ns += int(file.read_text().split()[1])
    return waited_ns / 1e9


def seconds_asleep() -> float:
    """How long this machine was suspended since it was started; only differences mean anything.

    On macOS by mach_continuous_time and mach_absolute_time. CLOCK_MONOTONIC counts sleep there too, but follows the
    corrections of the wall clock, which in a day come to seconds.
    """
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW) - time.clock_gettime(time.CLOCK_UPTIME_RAW)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
