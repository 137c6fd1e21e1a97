"""One position in five hundred: four a row."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(values, tokens_BT, torch.arange(tokens_BT.shape[1] - 1) % 500 == 7)


build = Cheat
