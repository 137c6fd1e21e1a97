"""Temperature and bias follow the position in the row."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        place = torch.arange(tokens_BT.shape[1])[None, :, None]
        return super().logits(tokens_BT) * (1 - 0.1 / (1 + place)) + 0.01 * (place % 7 == 3)


build = Unusual
