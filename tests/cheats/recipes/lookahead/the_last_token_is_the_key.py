"""Behaves unless the last token of the row is an even one: a splice changes it half of the time."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(values, tokens_BT, (tokens_BT[:, -1:] % 2 == 0))


build = Cheat
