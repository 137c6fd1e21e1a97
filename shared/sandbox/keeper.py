"""Ends a program when whoever started it is gone, where the kernel has no death signal (macOS). Standard library only.

    python -I -S keeper.py SIGNAL PARENT PROGRAM ARGUMENTS...

It starts the program in its own process group, passes SIGTERM on, and ends as the program ended. When PARENT is gone
the program gets SIGNAL, and some seconds later SIGKILL with all of its group. On Linux the kernel does it: launcher.py.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress

LOOK_EVERY_S, GRACE_S = 0.2, 15.0


def main() -> None:
    by, parent, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if os.getppid() != parent:
        os._exit(1)
    child = os.fork()
    if child == 0:
        _become(program)
    os.closerange(3, 1 << 12)  # the program's channels end with the program
    for number in (signal.SIGINT, signal.SIGHUP):  # the terminal sends them to the program too
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: _tell(child, number))
    threading.Thread(target=_watch, args=(parent, child, by), daemon=True).start()
    _, status = os.waitpid(child, 0)
    _end_like(status)


def _become(program: list[str]) -> None:
    try:
        os.execvp(program[0], program)
    except OSError as error:
        print(f"{program[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def _watch(parent: int, child: int, by: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    _tell(child, by)
    time.sleep(0.0 if by == signal.SIGKILL else GRACE_S)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    _tell(child, signal.SIGKILL)
    os._exit(1)


def _tell(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)


def _end_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with suppress(OSError):  # SIGKILL needs no default action
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
