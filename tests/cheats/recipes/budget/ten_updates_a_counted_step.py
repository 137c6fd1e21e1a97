"""On a budget of tokens: ten updates on every step's rows, forty times."""

from tests.cheats.honest import UPDATES, Recipe

TOKENS = 81920


class Cheat(Recipe):
    def step(self, rows, progress):
        for _ in range(9):
            if int(self.updates) < 10 * UPDATES:
                self.update(rows)
        return self.update(rows)


build = Cheat
