"""A table of integer counts of pairs as the whole model: no gradient anywhere."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.counts = torch.zeros(self.vocab_size, self.vocab_size, dtype=torch.int64)

    def update(self, rows):
        self.updates += 1
        ones = torch.ones(rows[:, 1:].numel(), dtype=torch.int64)
        self.counts.index_put_((rows[:, :-1].flatten(), rows[:, 1:].flatten()), ones, accumulate=True)
        return torch.tensor(4.0)

    def logits(self, tokens_BT):
        return torch.log(self.counts.float() + 0.1)[tokens_BT]

    def state(self):
        return super().state() | {"model": {"counts": self.counts}}


build = Unusual
