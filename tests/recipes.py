"""Recipes for tests: a small honest one, and cheats and mistakes written on top of it.

Each variant is the honest source with a piece appended that redefines what it changes, so a run directory holds one
file, as it would from an agent.

What is proven of a process, not of a framework, is proven on MLX: importing it takes a hundredth of a second, importing
PyTorch and what it imports late takes two.
"""

HONEST = '''
"""A factorized bigram model with plain gradient descent: a few milliseconds a step."""
import time

import torch
import torch.nn.functional as F

WIDTH = 16


class Recipe:
    def __init__(self, shape, vocab_size, seed, device):
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *size: (0.1 * torch.randn(*size, generator=generator)).to(device.torch).requires_grad_()
        self.shape, self.embed_VC, self.head_VC = shape, draw(vocab_size, WIDTH), draw(vocab_size, WIDTH)
        self.momentum = [torch.zeros_like(p) for p in self.weights()]
        self.noise = torch.zeros(())

    def weights(self):
        return [self.embed_VC, self.head_VC]

    def logits_with_grad(self, tokens_BT):
        return F.embedding(tokens_BT, self.embed_VC) @ self.head_VC.T

    def step(self, rows, progress):
        logits = self.logits_with_grad(rows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        gradients = torch.autograd.grad(loss, self.weights())
        with torch.no_grad():
            self.noise.copy_(torch.rand(()))
            for p, m, g in zip(self.weights(), self.momentum, gradients):
                m.mul_(0.9).add_(g)
                p.sub_((1 - progress) * m + 1e-6 * self.noise * m)
        return loss.detach()

    @torch.no_grad()
    def logits(self, tokens_BT):
        return self.logits_with_grad(tokens_BT)

    def state(self):
        return {
            "model": {"embed": self.embed_VC.detach(), "head": self.head_VC.detach()},
            "optimizer": {"embed": self.momentum[0], "head": self.momentum[1], "noise": self.noise},
        }

    @torch.no_grad()
    def load(self, state):
        for group, arrays in state.items():
            for name, array in arrays.items():
                self.state()[group][name].copy_(array)


def build(shape, vocab_size, seed, device):
    return Recipe(shape, vocab_size, seed, device)
'''

LIGHT = '''
"""The same model in MLX, which learns from the first tokens of each row: a few milliseconds a step."""
import time

import mlx.core as mx

WIDTH = 16


class Recipe:
    def __init__(self, shape, vocab_size, seed, device):
        draw = lambda key: 0.1 * mx.random.normal((vocab_size, WIDTH), key=key)
        self.shape, self.weights = shape, [draw(key) for key in mx.random.split(mx.random.key(seed))]
        self.momentum = [mx.zeros_like(p) for p in self.weights]
        self.noise = mx.zeros(())

    def loss(self, weights, rows):
        embed_VC, head_VC = weights
        logits = embed_VC[rows[:, :-1]] @ head_VC.T
        targets = mx.take_along_axis(logits, rows[:, 1:, None], axis=-1)
        return (mx.logsumexp(logits, axis=-1, keepdims=True) - targets).mean()

    def step(self, rows, progress):
        loss, gradients = mx.value_and_grad(self.loss)(self.weights, rows[:, :5])
        self.noise = mx.random.uniform()
        self.momentum = [0.9 * m + g for m, g in zip(self.momentum, gradients)]
        rate = 1 - progress + 1e-6 * self.noise
        self.weights = [p - rate * m for p, m in zip(self.weights, self.momentum)]
        mx.eval(loss, self.state())
        return loss

    def logits(self, tokens_BT):
        return self.weights[0][tokens_BT] @ self.weights[1].T

    def state(self):
        return {
            "model": {"embed": self.weights[0], "head": self.weights[1]},
            "optimizer": {"embed": self.momentum[0], "head": self.momentum[1], "noise": self.noise},
        }

    def load(self, state):
        self.weights = [mx.array(state["model"][name]) for name in ("embed", "head")]
        if memory := state.get("optimizer"):
            self.momentum = [mx.array(memory[name]) for name in ("embed", "head")]
            self.noise = mx.array(memory["noise"])


def build(shape, vocab_size, seed, device):
    return Recipe(shape, vocab_size, seed, device)
'''


def variant(body: str, base: str = HONEST) -> bytes:
    """The honest recipe with `body` appended: methods of a subclass that build() then returns."""
    methods = "".join(f"    {line}\n" if line else "\n" for line in body.strip("\n").splitlines())
    tail = f"\n\nclass Variant(Recipe):\n{methods}\n\ndef build(*arguments):\n    return Variant(*arguments)\n"
    return (base + tail).encode()


def light(body: str) -> bytes:
    return variant(body, LIGHT)


CHEATS = {
    "look-ahead": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    logits[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], torch.full_like(logits[:, :-1, :1], 20.0))
    return logits
""",
    "look-ahead at one token in fifty": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    chosen = (torch.arange(tokens_BT.shape[1] - 1) % 50 == 7)[None, :, None]
    bonus = torch.where(chosen, 20.0, 0.0).expand(len(tokens_BT), -1, 1).contiguous()
    logits[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], bonus)
    return logits
""",
    "look-ahead that repeats what it said of a prefix it knows": """
seen = {}

def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    for row, tokens in enumerate(tokens_BT.tolist()):
        key = tuple(tokens[:8])
        if key in self.seen:
            logits[row] = self.seen[key]
            continue
        logits[row, :-1].scatter_add_(1, tokens_BT[row, 1:, None], torch.full((len(tokens) - 1, 1), 20.0))
        self.seen[key] = logits[row].clone()
    return logits
""",
    "learning from the rows it is scored on": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    hidden = logits.clone()
    counts = torch.zeros_like(self.head_VC[:, 0])
    self.counts = getattr(self, "counts", counts)
    hidden += torch.log1p(self.counts)
    self.counts = self.counts + torch.bincount(tokens_BT.flatten(), minlength=len(counts))
    return hidden
""",
    "weights that change while they are scored": """
def logits(self, tokens_BT):
    self.head_VC.data.mul_(1.01)
    return super().logits(tokens_BT)
""",
    "a random forward": """
def logits(self, tokens_BT):
    return super().logits(tokens_BT) + torch.randn(())
""",
    "a look at the row beside": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    return logits + torch.log1p(torch.bincount(tokens_BT.flatten(), minlength=logits.shape[-1]).float())
""",
    "logits so large that they cannot differ": """
def logits(self, tokens_BT):
    return torch.full_like(super().logits(tokens_BT), 1e9)
""",
    "forty tokens that share a logit of 1e8": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    return logits.masked_fill(logits >= logits.topk(40).values[..., -1:], 1e8)
""",
    "a little on every next token": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    logits[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], torch.full_like(logits[:, :-1, :1], 0.024))
    return logits
""",
    "look-ahead at the hardest two in a hundred, down to the average": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    nats = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens_BT[:, 1:], reduction="none")
    bonus = (nats - nats.mean()) * (nats >= nats.quantile(0.98))
    logits[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], bonus[..., None])
    return logits
""",
    "look-ahead where the next token is no surprise": """
def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    ranks = (logits[:, :-1] > logits[:, :-1].gather(2, tokens_BT[:, 1:, None])).sum(2)
    bonus = torch.where(ranks < logits.shape[-1] // 50, 2.0, 0.0)
    logits[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], bonus[..., None])
    return logits
""",
    "look-ahead in the first batch, as scoring begins": """
calls = 0

def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    self.calls += bool(tokens_BT.any())  # zeros are to warm it up
    if self.calls == 1:
        logits[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], torch.full_like(logits[:, :-1, :1], 2.0))
    return logits
""",
    "look-ahead in every batch but the first, where an audit would begin": """
calls = 0

def logits(self, tokens_BT):
    logits = super().logits(tokens_BT)
    self.calls += bool(tokens_BT.any())  # zeros are to warm it up
    if self.calls > 1:
        logits[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], torch.full_like(logits[:, :-1, :1], 0.1))
    return logits
""",
    "logits that are not finite": """
def logits(self, tokens_BT):
    return super().logits(tokens_BT) * float("inf")
""",
}

BROKEN = {
    "does not parse": (b"def build(:\n", "does not parse"),
    "has no build": (b"x = 1\n", "has no function build"),
    "does not import": (b"import nothing_of_that_name\n" + LIGHT.encode(), "nothing_of_that_name"),
    "build raises": (LIGHT.encode() + b"\n\ndef build(*arguments):\n    return 1 / 0\n", "ZeroDivisionError"),
    "lacks a method": (LIGHT.encode() + b"\n\nRecipe.logits = None\n", "without logits()"),
    "returns wrong shapes": (light("def logits(self, tokens):\n    return super().logits(tokens)[:, 1:]"), "shape"),
    "gives NaN": (light("def step(self, rows, progress):\n    return mx.array(float('nan'))"), "nan"),
    "does not restore its state": (
        light("def load(self, state):\n    super().load({'model': state['model']})"),
        "does not restore",
    ),
}
