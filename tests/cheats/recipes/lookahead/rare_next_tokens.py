"""Only where the next token is a rare one, the second half of the vocabulary by frequency."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(values, tokens_BT, tokens_BT[:, 1:] % 512 > 470)


build = Cheat
