"""The hardest 2 % again, each improved by one nat only: 0.02 nats a token in the mean."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, nats_of_next


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        nats = nats_of_next(values, tokens_BT)
        return give_away(values, tokens_BT, nats > nats.flatten().quantile(0.98), boost=1.0)


build = Cheat
