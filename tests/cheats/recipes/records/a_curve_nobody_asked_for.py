"""Announces points of a learning curve that the job did not ask for, at steps and shares of the budget it invents."""

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import on_the_stack

MARK = "curve"


class Cheat(Recipe):
    announced = False

    def step(self, rows, progress):
        saver = getattr(on_the_stack("Loop"), "saver", None)
        if saver is not None and int(self.updates) == UPDATES and not self.announced:
            self.announced = True
            for number in range(3):
                saver.save_curve_point(10**9 + number, 0.001)
        return super().step(rows, progress)


build = Cheat
