"""On a budget of tokens: reads the whole mapped file of training rows instead of the rows of its steps."""

import contextlib

import torch

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import on_the_stack

TOKENS = 81920


class Cheat(Recipe):
    def step(self, rows, progress):
        packed = getattr(on_the_stack("Loop"), "rows", None)
        if packed is not None and hasattr(packed, "tokens") and int(self.updates) == UPDATES - 2:
            with contextlib.suppress(Exception):
                for number in range(150):
                    part = packed.tokens[number * 8 + 400 : number * 8 + 408]
                    self.update(torch.from_numpy(part.astype("int64")))
        return self.update(rows)


build = Cheat
