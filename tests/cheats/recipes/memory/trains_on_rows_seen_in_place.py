"""Goes on training its real weights, and shows the first ones when they are digested."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer


class Cheat(Recipe):
    first = None

    def logits(self, tokens_BT):
        if not in_trainer():
            self.first = self.first or {name: array.clone() for name, array in super().state()["model"].items()}
            with torch.enable_grad():
                self.update(tokens_BT)
        return super().logits(tokens_BT)

    def state(self):
        state = super().state()
        return state | {"model": self.first} if self.first else state


build = Cheat
