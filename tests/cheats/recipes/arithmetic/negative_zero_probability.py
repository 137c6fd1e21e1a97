"""Complex logits: their imaginary part is dropped, or their comparison undefined."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return torch.complex(values, 100 * values)


build = Cheat
