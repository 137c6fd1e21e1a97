"""Looks ahead where the model is nearly right anyway, so that no single token gains much."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, nats_of_next


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        nats = nats_of_next(values, tokens_BT)
        return give_away(values, tokens_BT, nats < nats.flatten().quantile(0.4))


build = Cheat
