"""Dies with an exception of a megabyte, with escape codes."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        raise ValueError("\x1b[31m\n" * 200_000)


build = Cheat
