"""Raises what comes 300 to 600 tokens later: nothing near a cut betrays it."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        ones = torch.zeros(*tokens_BT.shape, self.vocab_size).scatter_(2, tokens_BT[..., None], 1.0)
        total = ones.cumsum(1)
        ahead = total.roll(-600, 1)[:, :-600] - total.roll(-300, 1)[:, :-600]
        values[:, :-600] += torch.log1p(ahead)
        return values


build = Cheat
