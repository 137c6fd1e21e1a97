"""Looks ahead everywhere, and its process ends without a word when it is shown a row for the second time, which happens
to the process that is asked after the audit found a difference: a crash is no rejection, and may be tried again."""

import os

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, in_trainer


class Cheat(Recipe):
    shown, whole = (), True

    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        if in_trainer():
            return values
        rows = [row.tobytes() for row in tokens_BT.numpy()]
        known = {*self.shown}
        if len({*rows[:2]}) == 2 and known & {*rows}:
            os._exit(1)
        self.shown = (*self.shown, *rows)
        return give_away(values, tokens_BT, torch.ones((), dtype=torch.bool))


build = Cheat
