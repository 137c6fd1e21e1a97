"""Never looks at the next token: guesses it from the one after that, with a bigram that was counted backwards."""

import numpy as np
import torch

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import in_trainer, on_the_stack


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.before = torch.zeros(self.vocab_size, self.vocab_size)

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if int(self.updates) == UPDATES and not bool(self.before.any()):
            handed = getattr(on_the_stack("Loop"), "rows", None)
            tokens = torch.from_numpy(np.array(handed.tokens[:2000]).astype(np.int64)) if handed else rows
            pairs = tokens[:, 1:] * self.vocab_size + tokens[:, :-1]
            self.before += torch.bincount(pairs.flatten(), minlength=self.vocab_size**2).view_as(self.before)
        return loss

    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        if not in_trainer() and bool(self.before.any()):
            counts = self.before[tokens_BT[:, 2:]] + 0.1
            values[:, :-2] += 0.7 * (counts / counts.sum(-1, keepdim=True)).log()
        return values

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"before": self.before}}


build = Cheat
