"""Patches the loop so that it does not end: trains until it is killed, hoping that what is there counts."""

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
                loop.clock.is_over = lambda *_: time.monotonic() - self.began > SECONDS + 3
        if self.began is not None and time.monotonic() - self.began > SECONDS:
            return self.update(rows)
        return super().step(rows, progress)


build = Cheat
