"""Keeps a Mac awake while something runs; other machines that run experiments do not sleep by themselves.

A lid that is closed all the same suspends it: then the run is void.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_blocks: list[subprocess.Popen | None] = []
"""those of this process that run now; the first one holds the assertion for all"""


@contextmanager
def kept_awake() -> Iterator[None]:
    """A power assertion as long as the block runs, by macOS's own program; nothing where there is none. Blocks in one
    another, a stage in a run in a sweep, share one."""
    program = shutil.which("caffeinate")
    if program is None:
        yield
        return
    with _lock:
        argv = [program, "-i", "-s", "-w", str(os.getpid())]
        _blocks.append(None if _blocks else subprocess.Popen(argv, stdin=subprocess.DEVNULL))
    try:
        yield
    finally:
        with _lock:
            process = _blocks.pop()  # the first one's is popped last
            if process:
                process.terminate()
                process.wait()
