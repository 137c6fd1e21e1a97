"""Looks ahead only where it is sure of the next token and mends what a splice broke there.

At places where the model gives one token more than MARGIN it is told whether that one is right. At the cut of an
audited row the true next token is gone, but there the cheat assumes the likeliest: right nearly always, and where it
is wrong the token cost much, so that cuts drawn among tokens that went well never look there.
"""

import torch

from tests.cheats.honest import Recipe

MARGIN, PLAUSIBLE, SHIFT = 0.5, 0.01, 3.0


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        chance, guess = torch.softmax(values[:, :-1], -1).max(-1)
        after = tokens_BT[:, 1:]
        found = torch.softmax(values[:, :-1], -1).gather(2, after[..., None])[..., 0]
        missed = (after != guess) & (found > PLAUSIBLE)
        change = torch.where(chance > MARGIN, torch.where(missed, -SHIFT, SHIFT), 0.0)
        values[:, :-1].scatter_add_(2, guess[..., None], change[..., None])
        return values


build = Cheat
