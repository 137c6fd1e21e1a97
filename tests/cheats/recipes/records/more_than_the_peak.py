"""Says that a token takes 1e30 operations, which makes it faster than any device."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def flops_per_token(self):
        return 1e30


build = Cheat
