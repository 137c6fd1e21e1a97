"""Looks ahead in its first nine calls, and is honest when it is asked again."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    calls = 0

    def logits(self, tokens_BT):
        self.calls += bool(tokens_BT.any())
        return give_away(super().logits(tokens_BT), tokens_BT, torch.tensor(self.calls <= 9))


build = Cheat
