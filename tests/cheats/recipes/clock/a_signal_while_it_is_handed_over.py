"""A timer's signal trains in the middle of our own code: between the last step and the copy, and after all is said."""

import signal

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder

SECONDS = 3.0


class Cheat(Hoarder):
    is_set = False

    def step(self, rows, progress):
        if progress > 0.97 and not self.is_set and len(self.hoard) > UPDATES:
            self.is_set = True
            signal.signal(signal.SIGALRM, lambda *_: self.train_on(40))
            signal.setitimer(signal.ITIMER_REAL, 0.03 * SECONDS, 0.02)
        return super().step(rows, progress)


build = Cheat
