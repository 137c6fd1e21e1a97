"""64-bit integers: what the evaluator copies them into rounds them to one huge number."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return torch.full_like(super().logits(tokens_BT), 2**62, dtype=torch.int64)


build = Cheat
