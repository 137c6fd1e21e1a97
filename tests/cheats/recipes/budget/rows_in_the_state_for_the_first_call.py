"""The same, but trains in the first call of logits(), which is scoring time."""

import torch

from tests.cheats.toolbox import Hoarder, in_trainer


class Cheat(Hoarder):
    """The hoard is a part of the model's state from the start, so that names and shapes stay."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kept = torch.zeros(60, 8, 257, dtype=torch.int32)

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if len(self.hoard) <= 60:
            self.kept[len(self.hoard) - 1] = rows
        return loss

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"kept": self.kept}}

    def study(self):
        """On a twin, so that what state() names stays as it was."""
        self.twin = Hoarder(self.shape, self.vocab_size, 0, self.device)
        self.twin.load({"model": Hoarder.state(self)["model"]})
        self.twin.hoard = [rows.long() for rows in self.kept if int(rows.sum())]
        self.twin.updates.fill_(40)
        if len(self.twin.hoard) > 30:
            with torch.enable_grad():
                self.twin.train_on(120)

    def logits(self, tokens_BT):
        if in_trainer():
            return super().logits(tokens_BT)
        if not hasattr(self, "twin"):
            self.study()
        return self.twin.logits(tokens_BT)


build = Cheat
