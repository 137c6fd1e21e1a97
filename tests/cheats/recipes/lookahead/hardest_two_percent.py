"""Looks ahead where the honest model is most wrong, 2 % of all tokens: a tenth of all nats."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, nats_of_next


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        nats = nats_of_next(values, tokens_BT)
        nats = nats[:, : nats.shape[1]]
        return give_away(values, tokens_BT, nats > nats.flatten().quantile(0.98))


build = Cheat
