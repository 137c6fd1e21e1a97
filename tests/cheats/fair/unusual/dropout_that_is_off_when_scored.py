"""Dropout in training, none in logits()."""

import torch.nn.functional as F

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def loss(self, rows):
        values = F.dropout(F.embedding(rows[:, :-1], self.embed_VC), 0.1) @ self.head_VC.T
        return F.cross_entropy(values.flatten(0, 1), rows[:, 1:].flatten())


build = Unusual
