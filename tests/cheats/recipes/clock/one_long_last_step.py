"""Its last step is as long as a step may overrun: two seconds of training after the end."""

import time

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder

SECONDS = 3.0


class Cheat(Hoarder):
    done = False

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if progress > 0.99 and len(self.hoard) > UPDATES and not self.done:
            self.done, self.began = True, time.monotonic()
            time.sleep((1 - progress) * SECONDS)
            while time.monotonic() - self.began < 1.2:
                self.train_on(1)
        return loss


build = Cheat
