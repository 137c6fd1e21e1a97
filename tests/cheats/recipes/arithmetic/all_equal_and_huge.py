"""Every logit is 1e9: a float32 log-sum-exp of them is 1e9 too, and every token costs nothing."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return torch.full_like(super().logits(tokens_BT), 1e9)


build = Cheat
