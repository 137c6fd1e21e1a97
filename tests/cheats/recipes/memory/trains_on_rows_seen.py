"""Goes on training on the rows it is scored on, with weights that state() does not name."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    shadow = None

    def logits(self, tokens_BT):
        if self.shadow is None:
            self.shadow = Recipe(self.shape, self.vocab_size, 0, self.device)
            self.shadow.load({"model": self.state()["model"]})
        values = self.shadow.logits(tokens_BT)
        with torch.enable_grad():
            self.shadow.update(tokens_BT)
        return values


build = Cheat
