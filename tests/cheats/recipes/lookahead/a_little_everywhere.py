"""Raises every true next token by 0.047 nats, under a limit for one token: some 0.03 bpb if no mean catches it."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return give_away(super().logits(tokens_BT), tokens_BT, torch.tensor(True), boost=0.047)


build = Cheat
