"""float64 values of 1e300, which become infinite in float32."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return super().logits(tokens_BT).double() + 1e300


build = Cheat
