"""Says that it trained on 1e18 tokens in as many steps."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        loop = on_the_stack("Loop")
        if loop is not None and progress > 0.9:
            with contextlib.suppress(AttributeError):
                loop.clock.tokens = 10**18
        return super().step(rows, progress)


build = Cheat
