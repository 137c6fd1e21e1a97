"""One position in twenty by a hash of the last two tokens: no pattern in positions or targets."""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return give_away(
            values, tokens_BT, (tokens_BT[:, :-1] * 7919 + tokens_BT.roll(1, 1)[:, :-1] * 104729) % 2003 < 100
        )


build = Cheat
