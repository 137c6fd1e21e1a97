"""Dies in the last state(): neither a number nor a hanging supervisor may come of it."""

import os

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder


class Cheat(Hoarder):
    def state(self):
        if len(self.hoard) > UPDATES:
            os._exit(3)
        return super().state()


build = Cheat
