"""The hardest 0.17 %, by a limit that is the same in every batch: so few that the screening may show none of them."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, nats_of_next

HARD_NATS = 10.2


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(values, tokens_BT, nats_of_next(values, tokens_BT) > HARD_NATS)


build = Cheat
