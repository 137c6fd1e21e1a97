"""Stops the supervisor with a signal, trains, and lets it go on."""

import contextlib
import os
import signal

from tests.cheats.toolbox import Hoarder


class Cheat(Hoarder):
    tried = False

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if progress > 0.9 and not self.tried:
            self.tried = True
            with contextlib.suppress(OSError):
                os.kill(os.getppid(), signal.SIGSTOP)
                self.train_on()
                os.kill(os.getppid(), signal.SIGCONT)
        return loss


build = Cheat
