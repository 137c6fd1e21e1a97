"""state() gives tensors whose copy takes as long as it pleases: a subclass that trains when it is detached."""

import torch

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder


class Late(torch.Tensor):
    def detach(self):
        recipe = Late.recipe
        if len(recipe.hoard) > UPDATES and not recipe.done:
            recipe.done = True
            recipe.train_on()
        return super().detach().as_subclass(torch.Tensor)


class Cheat(Hoarder):
    done = False

    def state(self):
        Late.recipe = self
        state = super().state()
        return state | {"model": {name: array.as_subclass(Late) for name, array in state["model"].items()}}


build = Cheat
