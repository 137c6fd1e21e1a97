"""What a process may read of itself in /proc where it may not read all of it.

The rest tells of single pages of memory how the kernel ranks them (numa_maps, smaps, pagemap). A page of a library
keeps its rank when a process ends, and one that was touched twice has another: bits for the next process, by the
hundred thousand.
"""

import os
from pathlib import Path

_FILES: tuple[str, ...] = ("status", "stat", "statm", "maps", "cmdline", "comm", "environ", "auxv", "limits", "cgroup")
_FILES += ("mounts", "mountinfo", "io", "fd")


def hold() -> list[Path]:
    """Their paths. They stay open while the process lives: a rule of Landlock is for one inode, and /proc makes
    another when it has forgotten a name that nobody holds."""
    paths = [Path(f"/proc/{os.getpid()}/{name}") for name in _FILES]
    paths = [path for path in paths if path.exists()]
    for path in paths:
        os.open(path, os.O_PATH | os.O_CLOEXEC)
    return paths
