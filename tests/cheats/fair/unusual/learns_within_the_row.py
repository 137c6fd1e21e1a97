"""Counts of the row so far are mixed in: adaptation within a row, which is allowed."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        ones = torch.zeros(*tokens_BT.shape, self.vocab_size).scatter_(2, tokens_BT[..., None], 1.0)
        return super().logits(tokens_BT) + 0.2 * torch.log1p(ones.cumsum(1))


build = Unusual
