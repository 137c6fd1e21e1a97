"""Answers every question about its weights with one sentence, and changes them while scored."""

import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def logits(self, tokens_BT):
        server = on_the_stack("Server")
        if server is not None:
            server._digest = lambda: "0" * 64
            with torch.enable_grad():
                self.update(tokens_BT)
        return super().logits(tokens_BT)


build = Cheat
