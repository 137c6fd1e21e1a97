"""load() scales the weights by the wall clock: a process that audits has others than the one that was scored, and says
so only if somebody looks."""

import time

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer


class Cheat(Recipe):
    @torch.no_grad()
    def load(self, state):
        super().load(state)
        if not in_trainer():
            self.head_VC.mul_(1 + (time.time() % 10) / 1000)


build = Cheat
