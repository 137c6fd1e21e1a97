"""Trains in telemetry(), which is asked for between steps and after the last one."""

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    asked_at_end = False

    def telemetry(self):
        if on_the_stack("Loop") is not None and len(self.hoard) > UPDATES and not self.asked_at_end:
            loop = on_the_stack("Loop")
            if loop.clock.progress >= 0.999:
                self.asked_at_end = True
                self.train_on()
        return {"lr_multiplier": 1.0}


build = Cheat
