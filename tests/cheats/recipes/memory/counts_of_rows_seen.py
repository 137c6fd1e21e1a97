"""Learns while it is scored: how often each token came in earlier rows."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    seen = 1.0

    def logits(self, tokens_BT):
        values = super().logits(tokens_BT) + torch.log(torch.as_tensor(self.seen))
        self.seen = self.seen + 20 * torch.bincount(tokens_BT.flatten(), minlength=self.vocab_size) / tokens_BT.numel()
        return values


build = Cheat
