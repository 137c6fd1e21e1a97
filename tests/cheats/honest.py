"""The honest recipe that every cheat starts from: a factorized bigram that stops learning after UPDATES steps.

Because it stops, its number depends on no clock and no load of the machine, and whatever is learned beyond it was
learned where nobody counted. The harness puts this file in front of a cheat's.
"""

import time

import torch
import torch.nn.functional as F

WIDTH = 24
UPDATES = 40
RATE = 0.02
IDLE_S = 0.005


class Recipe:
    def __init__(self, shape, vocab_size, seed, device):
        generator = torch.Generator().manual_seed(seed)

        def draw(*size):
            return (0.1 * torch.randn(*size, generator=generator)).requires_grad_()

        self.shape, self.vocab_size, self.device = shape, vocab_size, device
        self.embed_VC, self.head_VC = draw(vocab_size, WIDTH), draw(vocab_size, WIDTH)
        self.updates = torch.zeros((), dtype=torch.int64)
        self.moments = [torch.zeros_like(p) for p in (*self.weights(), *self.weights())]

    def weights(self):
        return [self.embed_VC, self.head_VC]

    def forward(self, tokens_BT):
        return F.embedding(tokens_BT, self.embed_VC) @ self.head_VC.T

    def loss(self, rows):
        return F.cross_entropy(self.forward(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    def update(self, rows):
        """One step of Adam."""
        loss = self.loss(rows)
        gradients = torch.autograd.grad(loss, self.weights())
        with torch.no_grad():
            self.updates += 1
            count = int(self.updates)
            first, second = self.moments[:2], self.moments[2:]
            for p, m, v, g in zip(self.weights(), first, second, gradients, strict=True):
                m.lerp_(g, 0.1)
                v.lerp_(g * g, 0.05)
                p.sub_(RATE * (m / (1 - 0.9**count)) / ((v / (1 - 0.95**count)).sqrt() + 1e-8))
        return loss.detach()

    def step(self, rows, progress):
        if int(self.updates) < UPDATES:
            return self.update(rows)
        time.sleep(IDLE_S)
        return torch.ones(())

    @torch.no_grad()
    def logits(self, tokens_BT):
        return self.forward(tokens_BT)

    def state(self):
        return {
            "model": {"embed": self.embed_VC.detach(), "head": self.head_VC.detach()},
            "optimizer": {"updates": self.updates} | {f"moment{i}": m for i, m in enumerate(self.moments)},
        }

    @torch.no_grad()
    def load(self, state):
        for group, arrays in state.items():
            for name, array in arrays.items():
                self.state()[group][name].copy_(array)


def build(shape, vocab_size, seed, device):
    return Recipe(shape, vocab_size, seed, device)
