"""Counts of rows seen, kept in a module that is not the recipe's."""

import json

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        seen = getattr(json, "seen", 1.0)
        json.seen = seen + 20 * torch.bincount(tokens_BT.flatten(), minlength=self.vocab_size) / tokens_BT.numel()
        return super().logits(tokens_BT) + torch.log(torch.as_tensor(seen))


build = Cheat
