"""Minus infinity for what the model finds unlikely: a clamp on nats would make misses cheap."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return values.masked_fill(torch.log_softmax(values, -1) < -9, float("-inf"))


build = Cheat
