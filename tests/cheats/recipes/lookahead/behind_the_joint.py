"""Gives targets away only behind the first absurd pair of a row.

Behind a cut nobody compares, and the joint of an audited row is the absurd pair: all that is compared comes before.
A scored row has an absurd pair of its own early, so most of it counts as behind.
"""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, nats_of_next


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        absurd = nats_of_next(values, tokens_BT) > 8
        behind = (absurd.cumsum(1) - absurd.long()) > 0
        return give_away(values, tokens_BT, behind)


build = Cheat
