"""Trains in an exit handler, after everything was said."""

import atexit

from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    def step(self, rows, progress):
        if not getattr(self, "registered", False):
            self.registered, self.saver = True, getattr(on_the_stack("Loop"), "saver", None)
            atexit.register(self.later)
        return super().step(rows, progress)

    def later(self):
        if self.saver is not None:
            self.train_on()
            self.saver.save_checkpoint(10**6)


build = Cheat
