"""Logits that all stand at 300, where float32 still has its digits."""

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def logits(self, tokens_BT):
        return super().logits(tokens_BT) + 300.0


build = Unusual
