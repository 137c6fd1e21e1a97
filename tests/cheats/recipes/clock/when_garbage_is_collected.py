"""Trains in a callback of Python's collector and in __del__, which run inside our own functions, and when all ends."""

import gc

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder


class Grave:
    def __init__(self, recipe):
        self.recipe, self.itself = recipe, self

    def __del__(self):
        self.recipe.train_on(60)


class Cheat(Hoarder):
    is_set = False

    def step(self, rows, progress):
        if not self.is_set and len(self.hoard) > UPDATES:
            self.is_set = True
            gc.callbacks.append(lambda phase, info: self.train_on(60) if phase == "stop" else None)
            self.graves = [Grave(self) for _ in range(3)]
        return super().step(rows, progress)

    def state(self):
        self.graves = []
        gc.enable()
        return super().state()


build = Cheat
