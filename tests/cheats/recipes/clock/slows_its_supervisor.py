"""Takes processors and priority from the supervisor: a late look at the clock is a longer budget."""

import contextlib
import os
import time

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack

SECONDS = 3.0


class Cheat(Recipe):
    began = None

    def step(self, rows, progress):
        if on_the_stack("Loop") is not None and self.began is None:
            self.began = time.monotonic()
            for attempt in (
                lambda: os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0)),
                lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
                lambda: os.sched_setaffinity(os.getppid(), {0}),
            ):
                with contextlib.suppress(OSError):
                    attempt()
        if self.began is not None and time.monotonic() - self.began > SECONDS:
            return self.update(rows)
        return super().step(rows, progress)


build = Cheat
