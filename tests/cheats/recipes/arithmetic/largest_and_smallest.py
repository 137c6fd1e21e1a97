"""The likelier half stands at the largest float32, the other at the smallest: differences overflow."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values, largest = super().logits(tokens_BT), torch.finfo(torch.float32).max
        return torch.where(values > values.median(-1, keepdim=True).values, largest, -largest)


build = Cheat
