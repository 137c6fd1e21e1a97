"""A state that runs along the row, one step after the other, in the values that come out."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        memory = torch.zeros(len(tokens_BT), self.vocab_size)
        for t in range(tokens_BT.shape[1]):
            memory = 0.99 * memory
            memory.scatter_add_(1, tokens_BT[:, t : t + 1], torch.full((len(tokens_BT), 1), 0.05))
            values[:, t] += memory
        return values


build = Unusual
