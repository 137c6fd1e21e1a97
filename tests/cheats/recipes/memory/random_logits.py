"""Not the same twice: noise that a mean of tries would hide."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return super().logits(tokens_BT) + 0.04 * torch.rand(())


build = Cheat
