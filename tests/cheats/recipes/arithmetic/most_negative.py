"""Every logit is the smallest float32: what subtracts nothing first finds nothing left."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return torch.full_like(super().logits(tokens_BT), torch.finfo(torch.float32).min)


build = Cheat
