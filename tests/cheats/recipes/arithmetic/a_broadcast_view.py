"""A view of one row expanded to the whole batch with stride 0, huge and equal: shapes are right, memory is not."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return torch.full((1, 1, 1), 3e37).expand(*tokens_BT.shape, self.vocab_size)


build = Cheat
