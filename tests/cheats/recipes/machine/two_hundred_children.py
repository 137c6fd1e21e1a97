"""Leaves two hundred sleeping children in sessions of their own."""

import contextlib
import os
import time

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) == 20:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    if os.fork() == 0:
                        os.setsid()
                        time.sleep(40)
                        os._exit(0)
        return super().step(rows, progress)


build = Cheat
