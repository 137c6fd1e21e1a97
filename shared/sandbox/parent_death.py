"""What makes a process end when its parent does: the kernel's death signal on Linux, processes that look on macOS."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")
KEEPER = Path(__file__).with_name("keeper.py")
_PR_SET_PDEATHSIG = 1


def dies_with_parent(argv: Sequence[str], by: signal.Signals = signal.SIGKILL, *, alone: bool = False) -> list[str]:
    """The command that runs `argv` and gets signal `by` when this process dies, however it dies."""
    if sys.platform != "linux":
        return [sys.executable, "-I", "-S", str(KEEPER), str(int(by)), str(os.getpid()), *argv]
    mode = "alone" if alone else "shared"
    return [sys.executable, "-I", "-S", str(LAUNCHER), str(int(by)), str(os.getpid()), mode, *argv]


def is_started_apart() -> bool:
    """Whether the console or an executor started this process: as leader of its session, or, on macOS, as the program
    of a keeper that leads it. A shell that is at work at a terminal gives a command a group of its own."""
    return os.getsid(0) == os.getpid() or os.getsid(0) == os.getppid() == os.getpgrp()


def die_with_parent(parent: int) -> None:
    """For a forked child on Linux: the kernel kills it when `parent` is gone. Elsewhere see `exit_with_parent`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def exit_with_parent(grace_s: float = 0.0) -> None:
    """For a child on macOS, which has no death signal: a thread that ends it, and a group that it leads, as an orphan.

    With a grace the process gets SIGTERM first and that long to end its own children.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent != 1:
            time.sleep(0.5)
        if grace_s:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(grace_s)
        if os.getpgrp() == os.getpid():  # else whoever shares the group, a shell or make, would be killed too
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    if sys.platform != "linux":
        threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()
