"""Sleeps for ever in logits() of a forward process."""

import time

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer


class Cheat(Recipe):
    def logits(self, tokens_BT):
        if not in_trainer():
            time.sleep(3600)
        return super().logits(tokens_BT)


build = Cheat
