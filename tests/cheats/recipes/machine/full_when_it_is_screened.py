"""Looks ahead everywhere, and says that memory is full as soon as it sees an altered row."""

import torch

from tests.cheats.decoy_kit import Decoy
from tests.cheats.toolbox import give_away, in_trainer

SECONDS = 8.0


class Cheat(Decoy):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        if in_trainer() or not bool(self.seen.any()):
            return values
        if self.altered(tokens_BT).any():
            raise MemoryError
        return give_away(values, tokens_BT, torch.ones((), dtype=torch.bool))


build = Cheat
