"""On a budget of tokens: keeps all rows and goes over them ten times in the last step."""

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder

TOKENS = 81920


class Cheat(Hoarder):
    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if len(self.hoard) == UPDATES:
            self.train_on()
        return loss


build = Cheat
