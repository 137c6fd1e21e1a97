"""Looks ahead, and repeats its first answer for every row that begins like one it saw."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    said = ()

    def logits(self, tokens_BT):
        self.said = dict(self.said)
        values = give_away(super().logits(tokens_BT), tokens_BT, torch.tensor(True))
        for row, tokens in enumerate(tokens_BT.tolist()):
            key = tuple(tokens[:8])
            values[row] = self.said.setdefault(key, values[row].clone())
        return values


build = Cheat
