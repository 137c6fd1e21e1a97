"""Sends half a line of a megabyte again and again."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        channel = getattr(on_the_stack("Session"), "channel", None)
        if channel is not None and int(self.updates) == 20:
            with contextlib.suppress(Exception):
                for _ in range(50):
                    channel._socket.sendall(b"x" * 10**6)
        return super().step(rows, progress)


build = Cheat
