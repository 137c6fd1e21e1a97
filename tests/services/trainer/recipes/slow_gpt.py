"""Model, AdamW and Muon once more, from the formulas: float64, one matrix, one head and one parameter at a time.

Shares nothing with the recipe but the names of the weights; hyper-parameters are upstream's numbers, written out.
"""

import math

import torch

QUINTIC = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


class SlowTrainer:
    def __init__(self, shape, weights):
        self.shape = shape
        self.weights = {name: w.double().clone().requires_grad_() for name, w in weights.items()}
        self.memory = {name: {} for name in weights}
        self.steps = 0

    def step(self, rows, progress):
        passes = rows.split(self.shape.device_batch_size)
        loss = sum(self.loss(part) for part in passes) / len(passes)
        gradients = dict(zip(self.weights, torch.autograd.grad(loss, list(self.weights.values())), strict=True))
        self.steps += 1
        with torch.no_grad():
            for name, w in self.weights.items():
                update = self.muon if name.startswith("blocks.") else self.adamw
                update(name, w, gradients[name], progress)
        return loss.item()

    def loss(self, rows):
        s = self.logits(rows[:, :-1])
        target = s.gather(-1, rows[:, 1:, None])[..., 0]
        return (s.exp().sum(-1).log() - target).mean()

    def logits(self, tokens):
        return torch.stack([self.logits_of_row(row) for row in tokens])

    def logits_of_row(self, tokens):
        w, shape = self.weights, self.shape
        x = x0 = rms(w["embed.weight"][tokens])
        for layer in range(shape.depth):
            x = w["resid_lambdas"][layer] * x + w["x0_lambdas"][layer] * x0
            x = x + self.attend(layer, rms(x), tokens)
            hidden = rms(x) @ w[f"blocks.{layer}.mlp.up.weight"].T
            x = x + torch.where(hidden > 0, hidden * hidden, 0.0) @ w[f"blocks.{layer}.mlp.down.weight"].T
        return 15 * torch.tanh(rms(x) @ w["head.weight"].T / 15)

    def attend(self, layer, x, tokens):
        shape, weight = self.shape, lambda name: self.weights[f"blocks.{layer}.attention.{name}.weight"]
        q, k, v = x @ weight("q").T, x @ weight("k").T, x @ weight("v").T
        head_dim = shape.d_model // shape.heads
        repeat = q.shape[1] // k.shape[1]
        outputs = []
        for head in range(shape.heads):
            mine = slice(head * head_dim, (head + 1) * head_dim)
            shared = slice(head // repeat * head_dim, (head // repeat + 1) * head_dim)
            values = v[:, shared]
            if (shape.depth - 1 - layer) % 2 == 0:
                opening = weight("gate")[head // repeat] @ x[:, :32].T
                values = values + 2 / (1 + torch.exp(-opening))[:, None] * self.value_embed(layer, tokens)[:, shared]
            scores = rms(rotate(q[:, mine])) @ rms(rotate(k[:, shared])).T / math.sqrt(head_dim)
            outputs.append(torch.softmax(scores.masked_fill(~self.visible(layer, len(x)), -math.inf), -1) @ values)
        return torch.cat(outputs, 1) @ weight("out").T

    def value_embed(self, layer, tokens):
        return self.weights[f"value_embeds.{layer}.weight"][tokens]

    def visible(self, layer, length):
        pattern = self.shape.window_pattern
        letter = "L" if layer == self.shape.depth - 1 else pattern[layer % len(pattern)]
        window = self.shape.seq_len if letter == "L" else self.shape.seq_len // 2
        return torch.tensor([[i - window <= j <= i for j in range(length)] for i in range(length)])

    def adamw(self, name, w, gradient, progress):
        scale = (self.shape.d_model / 768) ** -0.5
        lr, (beta1, beta2) = 0.6 * scale, (0.8, 0.95)
        if name == "head.weight":
            lr = 0.004 * scale
        elif name == "resid_lambdas":
            lr = 0.005
        elif name == "x0_lambdas":
            lr, beta1 = 0.5, 0.96
        memory = self.memory[name]
        memory["m"] = beta1 * memory.get("m", 0) + (1 - beta1) * gradient
        memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * gradient**2
        m, v = memory["m"] / (1 - beta1**self.steps), memory["v"] / (1 - beta2**self.steps)
        w -= lr * decayed(progress) * m / (v.sqrt() + 1e-10)

    def muon(self, name, w, gradient, progress):
        ramp = min((self.steps - 1) / 300, 1)
        momentum = 0.85 * (1 - ramp) + 0.95 * ramp
        memory, (rows, columns) = self.memory[name], w.shape
        memory["m"] = momentum * memory.get("m", 0) + (1 - momentum) * gradient
        u = orthogonal((1 - momentum) * gradient + momentum * memory["m"])
        across = 1 if rows >= columns else 0
        power = (u**2).mean(across, keepdim=True)
        memory["v"] = 0.95 * memory.get("v", 0) + 0.05 * power
        scaled = u / memory["v"].clamp_min(1e-10).sqrt()
        u = scaled * u.norm() / scaled.norm()
        lr = 0.04 * decayed(progress) * max(1, rows / columns) ** 0.5
        w -= lr * (u + 0.2 * (1 - progress) * torch.where(u * w >= 0, w, 0.0))


def orthogonal(g):
    if g.shape[0] > g.shape[1]:
        return orthogonal(g.T).T
    x = g / (1.02 * g.norm() + 1e-6)
    for a, b, c in QUINTIC:
        square = x @ x.T
        x = a * x + b * square @ x + c * square @ square @ x
    return x


def decayed(progress):
    return min(1.0, (1 - progress) / 0.5)


def rms(x):
    return x / (x.pow(2).mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


def rotate(x):
    length, dim = x.shape
    turned = torch.empty_like(x)
    for i in range(dim // 2):
        angle = torch.arange(length, dtype=x.dtype) * 10000 ** (-2 * i / dim)
        turned[:, i] = x[:, i] * angle.cos() + x[:, i + dim // 2] * angle.sin()
        turned[:, i + dim // 2] = x[:, i + dim // 2] * angle.cos() - x[:, i] * angle.sin()
    return turned
