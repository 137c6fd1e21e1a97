"""Raises every true next token: the number would fall to nearly nothing."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return give_away(super().logits(tokens_BT), tokens_BT, torch.tensor(True))


build = Cheat
