"""bfloat16 logits at 3e38: equal after rounding, their exponentials sum to infinity unless the maximum goes first."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def logits(self, tokens_BT):
        return (super().logits(tokens_BT) * 1e-3 + 3e38).bfloat16()


build = Cheat
