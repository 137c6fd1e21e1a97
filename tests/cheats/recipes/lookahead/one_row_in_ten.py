"""Whole rows, one in ten, by what their first tokens are."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(
            values, tokens_BT, (tokens_BT[:, 1:9].sum(1, keepdim=True) % 10 == 3).expand(-1, tokens_BT.shape[1] - 1)
        )


build = Cheat
