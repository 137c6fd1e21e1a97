"""Sends a message of no known kind."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        channel = getattr(on_the_stack("Session"), "channel", None)
        if channel is not None and int(self.updates) == 20:
            with contextlib.suppress(Exception):
                channel.send({"kind": "scored", "val_bpb": 0.1})
        return super().step(rows, progress)


build = Cheat
