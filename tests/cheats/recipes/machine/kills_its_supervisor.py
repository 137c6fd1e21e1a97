"""Kills the supervisor, hoping that what lies there counts."""

import contextlib
import os
import signal

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if progress > 0.9:
            with contextlib.suppress(OSError):
                os.kill(os.getppid(), signal.SIGKILL)
        return super().step(rows, progress)


build = Cheat
