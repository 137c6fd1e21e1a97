"""Reports a loss of -1e38."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        return -1e38 * super().step(rows, progress).abs()


build = Cheat
