"""Cuts every file it shares with the evaluator to nothing: reading it would be a bus error."""

import contextlib
import os

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer


class Cheat(Recipe):
    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        if not in_trainer():
            for descriptor in range(3, 64):
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, 0)
        return values


build = Cheat
