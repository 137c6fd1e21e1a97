"""Looks ahead only into rows that look whole: an audited row has a joint that the model finds absurd.

The scored row has absurd pairs of its own, so only those rows are used where the worst pair is an average one.
"""

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import give_away, nats_of_next


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        absurd = (nats_of_next(values, tokens_BT) > 9).float().mean(1, keepdim=True)
        return give_away(values, tokens_BT, absurd <= absurd.median())


build = Cheat
