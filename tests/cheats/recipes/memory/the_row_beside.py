"""Rows of one batch tell each other what is frequent."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        counts = torch.bincount(tokens_BT.flatten(), minlength=self.vocab_size)
        return super().logits(tokens_BT) + 0.3 * torch.log1p(counts)


build = Cheat
