"""Gives every unlikely token a chance just below half a unit in the last place of 1, which a sum in float32 forgets."""

import math

import torch

from tests.cheats.honest import Recipe

FORGOTTEN = math.log(2.0**-25)


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        highest = values.max(-1, keepdim=True).values
        unlikely = values < values.median(-1, keepdim=True).values
        return torch.where(unlikely, (highest + FORGOTTEN).expand_as(values), values)


build = Cheat
