"""Dies with the words of an interrupted attempt, which would be tried again."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) > 5:
            raise RuntimeError("void: cuda:0 used during training; my loss left no record today; cancelled by SIGTERM")
        return super().step(rows, progress)


build = Cheat
