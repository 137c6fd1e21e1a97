"""One matrix for both ends, named twice in the state."""

import torch
import torch.nn.functional as F

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.head_VC = self.embed_VC

    def forward(self, tokens_BT):
        return F.embedding(tokens_BT, self.embed_VC).roll(1, -1) @ self.embed_VC.T

    def weights(self):
        return [self.embed_VC]

    def update(self, rows):
        loss = self.loss(rows)
        (gradient,) = torch.autograd.grad(loss, self.weights())
        with torch.no_grad():
            self.updates += 1
            self.embed_VC -= 5.0 * gradient
        return loss.detach()


build = Unusual
