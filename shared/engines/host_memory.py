"""Most memory this process held: what an engine reports as its peak where the device is the CPU."""

import platform
import resource
from pathlib import Path


def peak_rss_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if platform.system() == "Darwin" else peak * 1024


def reset_peak_rss() -> None:
    """Linux restarts a process's high-water mark on a 5 written here; elsewhere the peak is of its whole life."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
