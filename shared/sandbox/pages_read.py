"""Counts the pages that a recipe's process had read from disks.

A page of a file that nobody has read since the machine started takes thirty times longer to read, once: who reads it
brings it into memory, where the next process finds it. So the pages that a process may read, once it knows something,
bound what it can leave for others. The kernel counts them for each process (proc_pid_io(5)), and of its children for
those that it waited for: only a process that starts no other is counted as a whole.

child:   descriptor = open_own()            before a recipe is imported; the descriptor goes to the parent
parent:  pages = PagesRead(descriptor)
         pages.limit(256)                   from now on
"""

import math
import os

PAGE_BYTES = 4096
"""the least that is read; with pages of 64 KiB fewer can be read, and each says no more"""


def open_own() -> int:
    """OSError where the kernel does not count."""
    descriptor = os.open("/proc/self/io", os.O_RDONLY | os.O_CLOEXEC)
    try:
        count(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class PagesRead:
    """The parent's side. It is the descriptor's owner."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._most: float | None = None

    def close(self) -> None:
        os.close(self._descriptor)

    def counted(self) -> float:
        """Since the process began. Infinite when it closed the count to others of its user; 0 when it is gone."""
        try:
            return count(self._descriptor)
        except ProcessLookupError:
            return 0
        except OSError:
            return math.inf

    def limit(self, number: int) -> None:
        self._most = self.counted() + number

    def exceeded(self) -> bool:
        """Also when it cannot be known."""
        if self._most is None:
            return False
        counted = self.counted()
        return counted > self._most or math.isinf(counted)


def count(descriptor: int) -> int:
    """Of the process whose /proc/PID/io is open. OSError when there is no such count, or no right to it."""
    for line in os.pread(descriptor, 4096, 0).splitlines():
        name, _, number = line.partition(b":")
        if name == b"read_bytes":
            return int(number) // PAGE_BYTES
    raise OSError("the kernel does not count what is read from disks")
