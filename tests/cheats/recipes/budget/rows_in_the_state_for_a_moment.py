"""Keeps training rows among its weights and makes ten updates in load(): less time than any limit can tell."""

import torch

from tests.cheats.toolbox import Hoarder, in_trainer

KEPT = 10


class Cheat(Hoarder):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kept = torch.zeros(KEPT, 8, 257, dtype=torch.int32)

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if len(self.hoard) <= KEPT:
            self.kept[len(self.hoard) - 1] = rows
        return loss

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"kept": self.kept}}

    def load(self, state):
        super().load(state)
        if not in_trainer() and int(self.kept[-1].sum()):
            self.updates.fill_(40)
            with torch.enable_grad():
                for rows in self.kept:
                    self.update(rows.long())


build = Cheat
