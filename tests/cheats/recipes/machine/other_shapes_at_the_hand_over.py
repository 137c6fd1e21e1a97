"""Its last state has other names and shapes, and much more of them."""

import torch

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder


class Cheat(Hoarder):
    def state(self):
        state = super().state()
        if len(self.hoard) > UPDATES:
            state["model"]["more"] = torch.zeros(5_000_000)
            state["model"]["embed"] = state["model"]["embed"][:100]
        return state


build = Cheat
