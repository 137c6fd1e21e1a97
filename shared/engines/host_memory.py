"""Most memory this process held: what an engine reports as its peak where the device is the CPU."""

import os
import platform
import resource
from functools import cache
from pathlib import Path

LONGEST_STATUS = 1 << 14


def peak_rss_bytes() -> int:
    try:
        status = os.pread(_status_file(os.getpid()), LONGEST_STATUS, 0).decode("ascii", "replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if platform.system() == "Darwin" else peak * 1024


@cache
def _status_file(pid: int) -> int:
    """Open as long as this process lives, which is asked after every pass: a recipe's process may name few files."""
    return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)


def reset_peak_rss() -> None:
    """Linux restarts a process's high-water mark on a 5 written here; elsewhere the peak is of its whole life."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
