"""NaN for every logit at positions where the model is unsure, hoping that a sum skips it."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        entropy = torch.distributions.Categorical(logits=values).entropy()
        return values.masked_fill(entropy[..., None] > 3, float("nan"))


build = Cheat
