"""The same in the training process: rows, metrics, whatever is open."""

import contextlib
import os

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) == 20:
            for descriptor in range(3, 64):
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, 0)
        return super().step(rows, progress)


build = Cheat
