"""Plus infinity for the ten likeliest tokens: inf - inf is NaN, and a NaN that is dropped costs nothing."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return values.scatter(2, values.topk(10).indices, float("inf"))


build = Cheat
