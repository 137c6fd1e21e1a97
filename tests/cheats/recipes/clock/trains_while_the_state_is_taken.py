"""Trains in state(), when it is called for the last time."""

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder


class Cheat(Hoarder):
    def state(self):
        if len(self.hoard) > UPDATES and not getattr(self, "done", False):
            self.done = True
            self.train_on()
        return super().state()


build = Cheat
