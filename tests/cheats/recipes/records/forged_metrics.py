"""Writes lines of its own into the metrics: a loss of 0 at step 10**9, and half a line."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        loop = on_the_stack("Loop")
        with contextlib.suppress(Exception):
            loop.telemetry.file.write('{"step": 1000000000, "loss": 0.0, "tok_per_sec": 1e300}\n{"step": ')
        return super().step(rows, progress)


build = Cheat
