"""bfloat16 logits computed in chunks of positions."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        return torch.cat([super(Unusual, self).logits(part).bfloat16() for part in tokens_BT.split(300, dim=1)], dim=1)


build = Unusual
