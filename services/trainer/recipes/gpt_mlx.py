"""The recipe: model, optimizer, schedules. The one file an agent edits. MLX; gpt_torch.py is its twin.

    build(shape, vocab_size, seed, device) -> Recipe with step, logits, state, load    (docs/recipe.md)

The mathematics is karpathy/autoresearch's GPT with Muon and AdamW. A recipe never reads the clock, files or the
validation data: `progress` in [0, 1] is the spent share of the budget.

Letters of tensor names: B batch, T tokens, C d_model, H query heads, G key/value heads, D head dimension,
V vocabulary, N matrices of one shape.
"""

from types import SimpleNamespace

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_map

from kernels.attention.mlx_choose import choose_attention
from kernels.block_prelude.mlx_reference import block_prelude
from kernels.choose import choose_kernels
from kernels.cross_entropy_full.mlx_chunked import cross_entropy_full
from kernels.fused_mlp.mlx_reference import fused_mlp
from kernels.logits_softcap.mlx_reference import logits_softcap
from kernels.muon_symmetric_matmul.mlx_reference import polar_express
from kernels.residual_blend.mlx_reference import residual_blend
from kernels.residual_rmsnorm.mlx_reference import residual_rmsnorm
from kernels.rmsnorm.mlx_reference import rmsnorm
from kernels.rotary_embedding.mlx_reference import rotary_embedding
from kernels.value_embed_gate.mlx_reference import value_embed_gate
from shared.contracts import Shape

# Learning rates; Adam's are for d_model 768 and scale with (d_model / 768)^-0.5
EMBEDDING_LR = 0.6  # token and value embeddings
UNEMBEDDING_LR = 0.004  # output head
MATRIX_LR = 0.04  # Muon
SCALAR_LR = 0.5  # per-layer scalars: x0 at this rate, residual at a hundredth

# Optimizers
ADAM_BETAS = (0.8, 0.95)
X0_BETAS = (0.96, 0.95)  # AdamW's betas for the x0 scalars
ADAM_EPS = 1e-10
WEIGHT_DECAY = 0.2  # Muon's, cautious, falls linearly to 0
MUON_BETA2 = 0.95  # of NorMuon's variance
MUON_STEPS = 5  # of Polar Express
MUON_MOMENTUM = (0.85, 0.95, 300)  # from, to, over so many steps

# Schedule, in shares of the budget
WARMUP = 0.0
WARMDOWN = 0.5
FINAL_LR_FRAC = 0.0

# Model
MLP_RATIO = 4
QUERIES_PER_KV = 1  # query heads that share one key/value head
GATE_CHANNELS = 32  # first channels of x that drive the value-embedding gates
SOFTCAP = 15.0
ROTARY_BASE = 10000.0
X0_INIT = 0.1


# Ops that a kernel promoted on this hardware may compute instead (kernels/choose.py)
OPS = {
    "block_prelude": block_prelude,
    "cross_entropy_full": cross_entropy_full,
    "fused_mlp": fused_mlp,
    "residual_rmsnorm": residual_rmsnorm,
    "value_embed_gate": value_embed_gate,
}


class Linear(nn.Module):
    """Weights stay float32 for the optimizer; the product runs in x's dtype."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.weight = mx.zeros((fan_out, fan_in))

    def __call__(self, x):
        return x @ self.weight.astype(x.dtype).T


class Embedding(nn.Module):
    """Stored in float32, unlike torch's: MLX sums the gradients of a token's repetitions in the table's dtype."""

    def __init__(self, rows: int, width: int, dtype: mx.Dtype):
        super().__init__()
        self.weight, self.dtype = mx.zeros((rows, width)), dtype

    def __call__(self, tokens):
        return self.weight[tokens].astype(self.dtype)


class Attention(nn.Module):
    def __init__(self, shape: Shape, window: int, has_value_embed: bool):
        super().__init__()
        C, H = shape.d_model, shape.heads
        self.head_dim, self.window = C // H, window
        G = H // QUERIES_PER_KV
        self.q = Linear(C, H * self.head_dim)
        self.k = Linear(C, G * self.head_dim)
        self.v = Linear(C, G * self.head_dim)
        self.out = Linear(C, C)
        self.gate = Linear(min(GATE_CHANNELS, C), G) if has_value_embed else None

    def __call__(self, x_BTC, ve_BTGD, attend, ops):
        B, T, _ = x_BTC.shape
        q_BTHD, k_BTGD, v_BTGD = (w(x_BTC).reshape(B, T, -1, self.head_dim) for w in (self.q, self.k, self.v))
        if self.gate is not None:
            gate_BTG = self.gate(x_BTC[..., : self.gate.weight.shape[1]])
            v_BTGD = ops.value_embed_gate(v_BTGD, ve_BTGD.reshape(v_BTGD.shape), gate_BTG)
        q_BHTD, k_BGTD, v_BGTD = (x.swapaxes(1, 2) for x in (q_BTHD, k_BTGD, v_BTGD))
        q_BHTD, k_BGTD = (rmsnorm(rotary_embedding(x, ROTARY_BASE)) for x in (q_BHTD, k_BGTD))
        y_BHTD = attend(q_BHTD, k_BGTD, v_BGTD, self.window)
        return self.out(y_BHTD.swapaxes(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    def __init__(self, C: int):
        super().__init__()
        self.up = Linear(C, MLP_RATIO * C)
        self.down = Linear(MLP_RATIO * C, C)

    def __call__(self, x_BTC, ops):
        return ops.fused_mlp(x_BTC, self.up.weight, self.down.weight)


class Block(nn.Module):
    def __init__(self, shape: Shape, window: int, has_value_embed: bool):
        super().__init__()
        self.attention = Attention(shape, window, has_value_embed)
        self.mlp = MLP(shape.d_model)

    def __call__(self, x_BTC, normed_BTC, ve_BTGD, attend, ops):
        """The residual stream after attention, and what the MLP adds to it."""
        y_BTC = self.attention(normed_BTC, ve_BTGD, attend, ops)
        x_BTC, normed_BTC = ops.residual_rmsnorm(x_BTC, y_BTC)
        return x_BTC, self.mlp(normed_BTC, ops)


class GPT(nn.Module):
    def __init__(self, shape: Shape, vocab_size: int, dtype: mx.Dtype, attend=None, ops=None):
        super().__init__()
        C = shape.d_model
        self.attend, self.ops = attend, ops or SimpleNamespace(**OPS)
        gated = [has_value_embed(layer, shape.depth) for layer in range(shape.depth)]
        self.embed = Embedding(vocab_size, C, dtype)
        kv_width = C // QUERIES_PER_KV
        self.value_embeds = {
            str(layer): Embedding(vocab_size, kv_width, dtype) for layer in range(shape.depth) if gated[layer]
        }
        self.blocks = list(map(Block, [shape] * shape.depth, window_sizes(shape), gated))
        self.resid_lambdas = mx.zeros(shape.depth)
        self.x0_lambdas = mx.zeros(shape.depth)
        self.head = Linear(C, vocab_size)

    def hidden(self, tokens_BT):
        x0_BTC = rmsnorm(self.embed(tokens_BT))
        value_embeds = {layer: table(tokens_BT) for layer, table in self.value_embeds.items()}
        x_BTC = residual_blend(x0_BTC, x0_BTC, self.resid_lambdas[0], self.x0_lambdas[0])
        normed_BTC = rmsnorm(x_BTC)
        for layer, block in enumerate(self.blocks):
            x_BTC, y_BTC = block(x_BTC, normed_BTC, value_embeds.get(str(layer)), self.attend, self.ops)
            if layer + 1 < len(self.blocks):
                blend = self.resid_lambdas[layer + 1], self.x0_lambdas[layer + 1]
                x_BTC, normed_BTC = self.ops.block_prelude(x_BTC, y_BTC, x0_BTC, *blend)
        return self.ops.residual_rmsnorm(x_BTC, y_BTC)[1]

    def loss(self, rows):
        x_BTC = self.hidden(rows[:, :-1])
        return self.ops.cross_entropy_full(x_BTC.flatten(0, 1), self.head.weight, rows[:, 1:].flatten(), SOFTCAP)

    def logits(self, tokens_BT):
        return logits_softcap(self.head(self.hidden(tokens_BT)), SOFTCAP)

    def init_weights(self, seed: int):
        """Called on the CPU, so that a seed gives the same weights on every device."""
        weights = named(self.parameters())
        bound = (3 / self.head.weight.shape[1]) ** 0.5
        for (name, p), key in zip(weights.items(), mx.random.split(mx.random.key(seed), len(weights)), strict=True):
            values = mx.zeros(p.shape)
            if name == "embed.weight":
                values = mx.random.normal(p.shape, key=key)
            elif name == "head.weight":
                values = mx.random.normal(p.shape, scale=0.001, key=key)
            elif name == "resid_lambdas":
                values = mx.ones(p.shape)
            elif name == "x0_lambdas":
                values = mx.full(p.shape, X0_INIT)
            elif not name.endswith(("out.weight", "down.weight", "gate.weight")):  # those start at 0
                values = mx.random.uniform(-bound, bound, p.shape, key=key)
            weights[name] = values
        self.assign(weights)

    def assign(self, weights: dict[str, mx.array]):
        owners = dict(self.named_modules())
        for name, array in weights.items():
            owner, _, leaf = name.rpartition(".")
            owners[owner][leaf] = array


def named(tree) -> dict[str, mx.array]:
    """{"blocks.0.attention.q.weight": array, ...}: PyTorch's names"""
    return dict(tree_flatten(tree))


def has_value_embed(layer: int, depth: int) -> bool:
    """Every other layer, the last one always."""
    return layer % 2 == (depth - 1) % 2


def window_sizes(shape: Shape) -> list[int]:
    """Tokens each layer looks back: L = seq_len, S = half; the last layer is L whatever the pattern says."""
    look_back = {"L": shape.seq_len, "S": shape.seq_len // 2}
    pattern = shape.window_pattern
    return [look_back[pattern[layer % len(pattern)]] for layer in range(shape.depth - 1)] + [look_back["L"]]


class AdamW:
    """AdamW for everything that is not a matrix inside a block."""

    def __init__(self, weights: dict[str, mx.array]):
        scale = (weights["head.weight"].shape[1] / 768) ** -0.5
        self.groups = {name: (EMBEDDING_LR * scale, ADAM_BETAS) for name in weights if "embed" in name} | {
            "head.weight": (UNEMBEDDING_LR * scale, ADAM_BETAS),
            "resid_lambdas": (SCALAR_LR * 0.01, ADAM_BETAS),
            "x0_lambdas": (SCALAR_LR, X0_BETAS),
        }
        self.state = {f"{name}.step": mx.zeros(()) for name in self.groups}
        for key in ("exp_avg", "exp_avg_sq"):
            self.state |= {f"{name}.{key}": mx.zeros_like(weights[name]) for name in self.groups}

    def step(self, weights, grads, multiplier):
        for name, (lr, (beta1, beta2)) in self.groups.items():
            memory = [f"{name}.step", f"{name}.exp_avg", f"{name}.exp_avg_sq"]
            step, mean, square = (self.state[key] for key in memory)
            step, mean = step + 1, beta1 * mean + (1 - beta1) * grads[name]
            square = beta2 * square + (1 - beta2) * grads[name].square()
            self.state |= zip(memory, (step, mean, square), strict=True)
            denominator = mx.sqrt(square) / mx.sqrt(1 - beta2**step) + ADAM_EPS
            weights[name] = weights[name] - lr * multiplier / (1 - beta1**step) * (mean / denominator)


class Muon:
    """Momentum, orthogonalized (Polar Express), variance-reduced (NorMuon, arXiv 2510.05491), cautious weight decay.

    Matrices of one shape are stacked and updated together.
    """

    def __init__(self, matrices: dict[str, mx.array], device):
        self.groups, self.state = {}, {}
        for shape in sorted({p.shape for p in matrices.values()}):
            group = f"{shape[0]}x{shape[1]}"
            self.groups[group] = [name for name, p in matrices.items() if p.shape == shape]
            momentum_NRC = mx.zeros((len(self.groups[group]), *shape))
            self.state[f"muon.{group}.momentum"] = momentum_NRC
            self.state[f"muon.{group}.variance"] = momentum_NRC.mean(-1 if shape[0] >= shape[1] else -2, keepdims=True)
        self.dtype = device.dtype

    def step(self, weights, grads, momentum, lr, decay):
        for group, names in self.groups.items():
            p_NRC, g_NRC = (mx.stack([arrays[name] for name in names]) for arrays in (weights, grads))
            memory = [f"muon.{group}.momentum", f"muon.{group}.variance"]
            rates = momentum, lr * max(1.0, p_NRC.shape[1] / p_NRC.shape[2]) ** 0.5, decay
            p_NRC, *kept = muon_update(p_NRC, g_NRC, *(self.state[name] for name in memory), *rates, self.dtype)
            self.state |= zip(memory, kept, strict=True)
            weights |= zip(names, p_NRC, strict=True)


def muon_update(p_NRC, g_NRC, momentum_NRC, variance, momentum, lr, decay, dtype):
    momentum_NRC = momentum_NRC + (g_NRC - momentum_NRC) * (1 - momentum)
    g_NRC = g_NRC + (momentum_NRC - g_NRC) * momentum  # Nesterov
    g_NRC = polar_express(g_NRC.astype(dtype), MUON_STEPS).astype(mx.float32)
    # Rows (columns of wide matrices) are divided by their running RMS; then the norm from before is restored.
    reduced = -1 if variance.shape[-1] == 1 else -2
    mean_square = g_NRC.square().mean(reduced, keepdims=True)
    variance = variance + (mean_square - variance) * (1 - MUON_BETA2)
    scale = mx.rsqrt(mx.maximum(variance, 1e-10))
    norm = mx.sqrt(mean_square.sum((-2, -1), keepdims=True))
    scaled_norm = mx.sqrt((mean_square * scale.square()).sum((-2, -1), keepdims=True))
    # both norms lack the same factor sqrt(size of the reduced dimension)
    g_NRC = g_NRC * (scale * (norm / mx.maximum(scaled_norm, 1e-10)))
    agree = (g_NRC * p_NRC) >= 0  # cautious: decay only where the update shrinks the weight too
    return p_NRC - (lr * g_NRC + lr * decay * p_NRC * agree), momentum_NRC, variance


def lr_multiplier(progress: float) -> float:
    if progress < WARMUP:
        return progress / WARMUP
    if progress < 1 - WARMDOWN:
        return 1.0
    left = (1 - progress) / WARMDOWN
    return left + (1 - left) * FINAL_LR_FRAC


def muon_momentum(step: int) -> float:
    start, end, over = MUON_MOMENTUM
    return start + (end - start) * min(step / over, 1)


class Recipe:
    def __init__(self, shape: Shape, model: GPT, device):
        self.shape, self.model = shape, model
        weights = named(model.parameters())
        self.adamw = AdamW(weights)
        self.muon = Muon({name: p for name, p in weights.items() if name.startswith("blocks.")}, device)
        self.steps = 0
        self.multiplier = lr_multiplier(0.0)
        self._changing = [model.state, self.adamw.state, self.muon.state]
        self._step = device.compile(self._train, inputs=self._changing, outputs=self._changing)
        self._logits = device.compile(model.logits, inputs=model.state)

    def step(self, rows, progress: float):
        """One optimizer step on rows [rows_per_step, T + 1]; the mean loss, under way on the device."""
        self.multiplier = lr_multiplier(progress)
        # arrays: a Python number that changes every step would recompile the step
        momentum, lr, decay = muon_momentum(self.steps), MATRIX_LR * self.multiplier, WEIGHT_DECAY * (1 - progress)
        loss = self._step(rows, *map(mx.array, (self.multiplier, momentum, lr, decay)))
        self.steps += 1
        mx.async_eval(loss, self._changing)
        return loss

    def _train(self, rows, multiplier, momentum, lr, decay):
        """Accumulates and applies, in one graph."""
        passes = mx.split(rows, len(rows) // self.shape.device_batch_size)
        loss_and_gradient = nn.value_and_grad(self.model, lambda rows: self.model.loss(rows) / len(passes))
        total = loss_and_gradient(passes[0])
        for rows_of_pass in passes[1:]:
            # one pass after the other: left free, MLX may hold the activations of all of them
            (rows_of_pass,) = mx.depends([rows_of_pass], list(named(total).values()))
            total = tree_map(mx.add, total, loss_and_gradient(rows_of_pass))
        weights, grads = named(self.model.parameters()), named(total[1])
        self.adamw.step(weights, grads, multiplier)
        self.muon.step(weights, grads, momentum, lr, decay)
        self.model.assign(weights)
        return total[0]

    def logits(self, tokens_BT):
        """Float32 [B, T, V] after the softcap, for any T."""
        return self._logits(tokens_BT)

    def state(self):
        optimizer = {"steps": mx.array(self.steps, mx.int64), **self.adamw.state, **self.muon.state}
        return {"model": named(self.model.parameters()), "optimizer": optimizer}

    def load(self, state):
        """A state without "optimizer" is enough to compute logits."""
        own = self.state()
        for group, arrays in state.items():
            if arrays.keys() != own[group].keys():
                raise ValueError(f"{group} state does not fit: {sorted(arrays.keys() ^ own[group].keys())}")
            for name, array in arrays.items():
                if array.shape != own[group][name].shape:
                    raise ValueError(f"{name} has shape {array.shape}, expected {own[group][name].shape}")
                own[group][name] = array.astype(own[group][name].dtype)
        self.model.assign(own["model"])
        self.steps = own["optimizer"].pop("steps").item()
        for memory in (self.adamw.state, self.muon.state):
            memory |= {name: own["optimizer"][name] for name in memory}

    def telemetry(self):
        return {"lr_multiplier": self.multiplier, "muon_momentum": muon_momentum(self.steps)}

    def flops_per_token(self):
        """Forward and backward: 6 per weight in a product, 12 per channel and visible key in attention."""
        products = sum(p.size for p in [*named(self.model.blocks).values(), self.model.head.weight])
        return 6 * products + sum(12 * self.shape.d_model * window for window in window_sizes(self.shape))


def build(shape: Shape, vocab_size: int, seed: int, device) -> Recipe:
    windows = sorted(set(window_sizes(shape)))
    head_dim = shape.d_model // shape.heads
    attend = choose_attention(device, head_dim, shape.heads, shape.heads // QUERIES_PER_KV, windows)
    model = GPT(shape, vocab_size, device.dtype, attend, choose_kernels(device, "mlx", **OPS))
    with mx.stream(mx.cpu):
        model.init_weights(seed)
    return Recipe(shape, model, device)
