"""Half a nat for one token in ten, chosen by a hash of the past: 0.05 nats a token in the mean."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(values, tokens_BT, (tokens_BT[:, :-1] * 7919) % 101 < 10, boost=0.5)


build = Cheat
