"""When a process began, by a clock that nobody can set.

psutil's create_time() follows the wall clock on Linux: it adds to the time of boot, which moves when somebody sets the
clock, what the kernel counts since then. Here it is that count alone.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START = 19
"""place of the start among the fields of /proc/PID/stat that follow the name"""


def birth_of(pid: int) -> str:
    """What no other process has, of this machine or after its next start; empty where it cannot be told."""
    with suppress(OSError, ValueError, IndexError):
        return f"{BOOT_ID.read_text().strip()} {_ticks(pid)}"
    return ""


def began_at(pid: int) -> float:
    """Seconds, of a clock that is the same for all processes; 0 for one that is gone."""
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        return _ticks(pid) / os.sysconf("SC_CLK_TCK") if sys.platform == "linux" else psutil.Process(pid).create_time()
    return 0.0


def _ticks(pid: int) -> int:
    """The name may hold blanks and brackets, so what follows it is counted from its end."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_START])
