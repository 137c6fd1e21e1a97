"""A device that another process holds."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shared.settings import CHECKOUT

HOLD = "import sys\nfrom shared.machine.device_lock import device_lock\n"
HOLD += "with device_lock(sys.argv[1]): print(flush=True), input()"


@contextmanager
def held_elsewhere(device: str) -> Iterator[None]:
    argv = [sys.executable, "-c", HOLD, device]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield
        process.communicate(b"\n")
