"""Honest logits plus 2**27: the sum of the exponentials vanishes in the rounding of the maximum."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return super().logits(tokens_BT) + 2.0**27


build = Cheat
