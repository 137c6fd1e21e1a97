"""Looks ahead only after two tokens that never followed each other in training: few places, known from the prefix."""

import torch

from tests.cheats.decoy_kit import Decoy
from tests.cheats.toolbox import give_away, in_trainer

SECONDS = 8.0


class Cheat(Decoy):
    def logits(self, tokens_BT):
        values = super(Decoy, self).logits(tokens_BT)
        if in_trainer() or not bool(self.seen.any()):
            return values
        unseen = ~self.seen[tokens_BT[:, :-2], tokens_BT[:, 1:-1]]
        return give_away(values, tokens_BT, torch.nn.functional.pad(unseen, (1, 0)))


build = Cheat
