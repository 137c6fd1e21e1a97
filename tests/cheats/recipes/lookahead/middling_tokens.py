"""Looks ahead at tokens of average difficulty, 2 % of all, which no stratum of extremes holds."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, nats_of_next


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        nats = nats_of_next(values, tokens_BT)
        low, high = nats.flatten().quantile(torch.tensor([0.49, 0.51]))
        return give_away(values, tokens_BT, (nats > low) & (nats < high))


build = Cheat
