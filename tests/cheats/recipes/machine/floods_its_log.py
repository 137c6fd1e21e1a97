"""Prints 300 MB with escape codes."""

import os

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) == 20:
            for _ in range(300):
                os.write(1, b"\x1b[2J" * 250_000)
        return super().step(rows, progress)


build = Cheat
