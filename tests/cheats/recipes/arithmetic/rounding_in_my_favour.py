"""Log-probabilities plus 0.24 at an offset of 2**21, where float32 counts in quarters: every sum is rounded down."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return torch.round((torch.log_softmax(values, -1) + 0.12) * 4) / 4 + 2.0**21


build = Cheat
