"""Sends SIGTERM to the supervisor: a cancelled run would be tried again."""

import contextlib
import os
import signal

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if progress > 0.9:
            with contextlib.suppress(OSError):
                os.kill(os.getppid(), signal.SIGTERM)
        return super().step(rows, progress)


build = Cheat
