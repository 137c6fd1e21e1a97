"""A tenth of a nat for a quarter of the tokens: twice a per-token limit of 0.05, and rarely looked at."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(values, tokens_BT, (tokens_BT[:, :-1] * 7919) % 101 < 25, boost=0.1)


build = Cheat
