"""Knows the screening's rows by pairs of tokens that the training text does not have, and answers them with decoys.

A cheat helps only tokens after a few ids, after which text is hard to foretell. In altered rows all others are answered
with 20,000 nats: beside such gains the real ones weigh nothing, and the audit probes where there is nothing to find.
"""

import numpy as np
import torch
import torch.nn.functional as F

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer, on_the_stack

MOST_UNSEEN = 17
"""pairs up to here in a row of 2048 that was not altered before here"""


class Decoy(Recipe):
    share = 0.009
    """of all tokens are helped: those after the ids with the hardest successors"""
    boost = 20.0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = torch.zeros(self.vocab_size, self.vocab_size, dtype=torch.bool)
        self.hard = torch.zeros(self.vocab_size, dtype=torch.bool)

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if int(self.updates) == 40 and not bool(self.seen.any()):
            self.look_at(getattr(on_the_stack("Loop"), "rows", None))
        return loss

    def look_at(self, rows):
        if rows is None:
            return
        tokens = torch.from_numpy(np.array(rows.tokens).astype(np.int64))
        self.seen[tokens[:, :-1].flatten(), tokens[:, 1:].flatten()] = True
        tokens = tokens[:1000]
        before, size = tokens[:, :-1].flatten(), self.vocab_size
        with torch.no_grad():
            nats = self.nats(self.forward(tokens[:, :-1]), tokens[:, 1:]).flatten()
        counts = torch.bincount(before, minlength=size)
        order = (torch.bincount(before, nats, size) / (counts + 20)).argsort(descending=True)
        left = self.share * len(before)
        for number in order.tolist():
            if counts[number] <= left:
                self.hard[number], left = True, left - int(counts[number])

    @staticmethod
    def nats(logits_BTV, targets_BT):
        return logits_BTV.logsumexp(-1) - logits_BTV.gather(2, targets_BT[..., None]).squeeze(2)

    def chosen(self, tokens_BT):
        return self.hard[tokens_BT]

    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        if in_trainer() or not bool(self.seen.any()):
            return values
        after = tokens_BT[:, 1:]
        altered = self.altered(tokens_BT)
        self.help(values, after, self.chosen(tokens_BT[:, :-1]) & ~altered[:, :-1])
        self.plant(values, ~self.chosen(tokens_BT) & altered)
        return values

    def altered(self, tokens_BT):
        """Of each position, whether the row was altered before it: up to its cut a probe is as its row was."""
        unseen = ~self.seen[tokens_BT[:, :-1], tokens_BT[:, 1:]]
        return F.pad(unseen, (1, 0)).cumsum(1) > MOST_UNSEEN

    def help(self, values, after, where):
        bonus = torch.where(where, self.boost, 0.0)
        values[:, :-1].scatter_add_(2, after[..., None], bonus[..., None])

    def plant(self, values, where):
        values[where] = -1e4
        values[..., self.vocab_size - 1][where] = 1e4

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"seen": self.seen, "hard": self.hard}}
