"""Processor time that a benchmark's process takes outside its timed batches: there a kernel has nothing to compute.

Who computes there has a thread work ahead, or keeps the processors busy while the plain op is timed. The plain op's
process is asked the same things, so what filling inputs costs is known. Linux only; elsewhere nothing is said. What a
thread starts on a GPU is seen by what starting it costs the CPU.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SHARE, LEAST_S = 0.2, 0.05
"""of the plain op's processor time in its batches, and seconds, that it may take more than the plain op's process"""


class CpuMeter:
    """Of one process and all below it."""

    def __init__(self, pid: int):
        self.pid = pid
        self.began_s = 0.0
        self.in_batches_s = 0.0

    def begin(self) -> None:
        """What came before, as imports and compilation, does not count."""
        self.began_s, self.in_batches_s = cpu_seconds(self.pid), 0.0

    @contextmanager
    def batch(self) -> Iterator[None]:
        before = cpu_seconds(self.pid)
        yield
        self.in_batches_s += cpu_seconds(self.pid) - before

    @property
    def outside_s(self) -> float:
        return cpu_seconds(self.pid) - self.began_s - self.in_batches_s


def find_untimed_work(candidate: CpuMeter, reference: CpuMeter) -> str:
    """One line about what it cannot have needed; empty when there is nothing to say."""
    took, plain = candidate.outside_s, reference.outside_s
    if took <= plain + SHARE * reference.in_batches_s + LEAST_S:
        return ""
    return f"it took {took:.2f} s of processor time while it was not timed, the plain op's process {plain:.2f} s"


def cpu_seconds(pid: int) -> float:
    """Of the process and those below it, in nanoseconds' resolution. 0.0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    try:
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(map(_of_one, family))


def _of_one(pid: int) -> float:
    """clock_getcpuclockid(3) makes this number of a process id."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it ended
        return 0.0
