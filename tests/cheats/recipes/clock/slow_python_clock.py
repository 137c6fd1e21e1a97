"""Patches time.monotonic and perf_counter in every module of ours so that half of the time is not there."""

import sys
import time

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack

SECONDS = 3.0
REAL = time.monotonic


def slow(function):
    origin = function()
    return lambda: origin + (function() - origin) / 2


class Cheat(Recipe):
    patched = False
    count = 0

    def step(self, rows, progress):
        if on_the_stack("Loop") is not None and not self.patched:
            self.patched, self.began = True, REAL()
            for module in list(sys.modules.values()):
                for name in ("monotonic", "perf_counter"):
                    function = getattr(module, name, None)
                    if function in (time.monotonic, time.perf_counter) and module is not time:
                        setattr(module, name, slow(function))
            clock = getattr(on_the_stack("Loop"), "clock", None)
            if hasattr(clock, "_now"):
                clock._now = slow(clock._now)
        if self.patched and REAL() - self.began > SECONDS:
            return self.update(rows)
        return super().step(rows, progress)


build = Cheat
