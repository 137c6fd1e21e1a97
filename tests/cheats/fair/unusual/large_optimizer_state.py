"""Forty times as much optimizer state as weights."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.history = torch.zeros(40, *self.embed_VC.shape)

    def step(self, rows, progress):
        self.history[int(self.updates) % 40] = self.embed_VC.detach()
        return super().step(rows, progress)

    def state(self):
        state = super().state()
        return state | {"optimizer": state["optimizer"] | {"history": self.history}}


build = Unusual
