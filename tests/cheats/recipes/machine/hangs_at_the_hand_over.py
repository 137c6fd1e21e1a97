"""Sleeps for ever in the last state()."""

import time

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder


class Cheat(Hoarder):
    def state(self):
        if len(self.hoard) > UPDATES:
            time.sleep(3600)
        return super().state()


build = Cheat
