"""The forty likeliest tokens stand at 1e8: whichever of them is right costs nothing."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        return values.scatter(2, values.topk(40).indices, 1e8)


build = Cheat
