"""Sends a line that is no JSON."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        channel = getattr(on_the_stack("Session"), "channel", None)
        if channel is not None and int(self.updates) == 20:
            with contextlib.suppress(Exception):
                channel._socket.send(b"\x00{{{]\n")
        return super().step(rows, progress)


build = Cheat
