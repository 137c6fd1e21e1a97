"""Says that a token takes infinitely many operations."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def flops_per_token(self):
        return float("inf")


build = Cheat
