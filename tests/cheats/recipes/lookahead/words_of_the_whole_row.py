"""Adds how often each token comes in the whole row, later tokens included: no single next token is given away."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        counts = torch.zeros(len(tokens_BT), self.vocab_size).scatter_add_(
            1, tokens_BT, torch.ones_like(tokens_BT).float()
        )
        return values + torch.log1p(counts)[:, None, :]


build = Cheat
