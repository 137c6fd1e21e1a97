"""The first 48 positions of a row."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(values, tokens_BT, torch.arange(tokens_BT.shape[1] - 1) < 48)


build = Cheat
