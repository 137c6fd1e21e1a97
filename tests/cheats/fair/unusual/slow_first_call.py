"""The first call takes three seconds, as one that compiles does. The number stands; with a budget of only three seconds
the run is not ranked, because it may have been training."""

import time

from tests.cheats.honest import Recipe

RANKED = False


class Unusual(Recipe):
    called = False

    def logits(self, tokens_BT):
        if not self.called:
            self.called = True
            time.sleep(3)
        return super().logits(tokens_BT)


build = Unusual
