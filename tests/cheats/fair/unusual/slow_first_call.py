"""The first call takes three seconds, as one that compiles does."""

import time

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    called = False

    def logits(self, tokens_BT):
        if not self.called:
            self.called = True
            time.sleep(3)
        return super().logits(tokens_BT)


build = Unusual
