"""Closes its channel and trains on."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        channel = getattr(on_the_stack("Session"), "channel", None)
        if channel is not None and int(self.updates) == 20:
            channel.close()
        return super().step(rows, progress)


build = Cheat
