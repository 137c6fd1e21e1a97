"""Keeps a Mac awake while an experiment runs; other machines that run experiments do not sleep by themselves.

A lid that is closed all the same suspends it: then the run is void.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_awake() -> Iterator[None]:
    """A power assertion as long as the block runs, by macOS's own program; nothing where there is none."""
    program = shutil.which("caffeinate")
    if program is None:
        yield
        return
    process = subprocess.Popen([program, "-i", "-s", "-w", str(os.getpid())], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
