"""Slows its clock by just less than two clocks may differ, and trains in the second that is won."""

import contextlib
import time

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack

SECONDS = 3.0


class Cheat(Recipe):
    began = None

    def step(self, rows, progress):
        loop = on_the_stack("Loop")
        if loop is not None and self.began is None:
            self.began = time.monotonic()
            with contextlib.suppress(AttributeError):
                loop.clock._origin += 0.9
        if self.began is not None and time.monotonic() - self.began > SECONDS:
            return self.update(rows)
        return super().step(rows, progress)


build = Cheat
