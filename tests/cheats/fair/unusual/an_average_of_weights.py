"""Scores with an average of its weights that is a part of the state."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.mean = [w.detach().clone() for w in self.weights()]

    @torch.no_grad()
    def step(self, rows, progress):
        with torch.enable_grad():
            loss = super().step(rows, progress)
        for mean, weights in zip(self.mean, self.weights(), strict=True):
            mean.lerp_(weights, 0.2)
        return loss

    def logits(self, tokens_BT):
        return self.mean[0][tokens_BT] @ self.mean[1].T

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"mean0": self.mean[0], "mean1": self.mean[1]}}


build = Unusual
