"""Lowers the priority of every process of this user and pins all it can name to one CPU: that would outlive the run,
and make the supervisor late."""

import contextlib
import os

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_USER, os.getuid(), 19)
        for pid in (os.getppid(), *range(1, 65536)):
            if pid != os.getpid():
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(pid, {0})


build = Cheat
