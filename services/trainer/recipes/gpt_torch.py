"""The recipe: model, optimizer, schedules. The one file an agent edits. PyTorch; gpt_mlx.py is its twin.

    build(shape, vocab_size, seed, device) -> Recipe with step, logits, state, load    (docs/recipe.md)

The mathematics is karpathy/autoresearch's GPT with Muon and AdamW. A recipe never reads the clock, files or the
validation data: `progress` in [0, 1] is the spent share of the budget.

Letters of tensor names: B batch, T tokens, C d_model, H query heads, G key/value heads, D head dimension,
K half of D, V vocabulary, N matrices of one shape.
"""

from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from kernels.attention.choose import choose_attention
from kernels.blend_rmsnorm.torch_reference import blend_rmsnorm
from kernels.block_prelude.torch_reference import block_prelude
from kernels.choose import choose_kernels
from kernels.cross_entropy_full.torch_chunked import cross_entropy_full
from kernels.fused_mlp.torch_reference import fused_mlp
from kernels.launch_fusion.whole_step import choose_step
from kernels.logits_softcap.torch_reference import logits_softcap
from kernels.muon_polynomial.torch_reference import muon_polynomial
from kernels.muon_symmetric_matmul.torch_reference import polar_express, symmetric_matmul
from kernels.residual_blend.torch_reference import residual_blend
from kernels.residual_linear.torch_reference import residual_linear
from kernels.residual_rmsnorm.torch_reference import residual_rmsnorm
from kernels.rmsnorm.torch_reference import rmsnorm
from kernels.rope_qk_fused.torch_reference import rope_qk_fused
from kernels.rotary_embedding.torch_reference import rotary_tables
from kernels.value_embed_gate.torch_reference import value_embed_gate
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
ROTARY_LENGTH = 2048  # evaluation's row length; training rows may be longer
X0_INIT = 0.1


# Ops that a kernel promoted on this hardware may compute instead (kernels/choose.py)
OPS = {
    "attention_prelude": None,  # none of its own: Attention.heads
    "blend_rmsnorm": blend_rmsnorm,  # block_prelude's part where residual_mlp was chosen
    "block_prelude": block_prelude,
    "cross_entropy_full": cross_entropy_full,
    "fused_mlp": fused_mlp,
    "muon_polynomial": None,  # none of its own: polynomial_of
    "muon_symmetric_matmul": symmetric_matmul,
    "residual_linear": None,  # none of their own: Block.forward
    "residual_mlp": None,
    "residual_rmsnorm": residual_rmsnorm,
    "rope_qk_fused": rope_qk_fused,
    "value_embed_gate": value_embed_gate,
}


class Linear(nn.Module):
    """Weights stay float32 for the optimizer; the product runs in x's dtype."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in))

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


class Embedding(nn.Module):
    def __init__(self, rows: int, width: int, dtype: torch.dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width, dtype=dtype))

    def forward(self, tokens):
        return F.embedding(tokens, self.weight)


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

    def forward(self, x_BTC, ve_BTGD, rotary, attend, ops):
        q_BTHD, k_BTGD, v_BTGD = self.heads(x_BTC, rotary, ops)
        if self.gate is not None:
            gate_BTG = self.gate(x_BTC[..., : self.gate.weight.shape[1]])
            v_BTGD = ops.value_embed_gate(v_BTGD, ve_BTGD.view(v_BTGD.shape), gate_BTG)
        return attend(q_BTHD, k_BTGD, v_BTGD, self.window).flatten(2)

    def heads(self, x_BTC, rotary, ops):
        """Queries, keys and values: by one kernel where one was chosen, else by three products and one for the rest."""
        if ops.attention_prelude is not None:
            weights = (w.weight.unflatten(0, (-1, self.head_dim)) for w in (self.q, self.k, self.v))
            return ops.attention_prelude(x_BTC, *weights, *rotary)
        q_BTHD, k_BTGD, v_BTGD = (w(x_BTC).unflatten(-1, (-1, self.head_dim)) for w in (self.q, self.k, self.v))
        return *ops.rope_qk_fused(q_BTHD, k_BTGD, *rotary), v_BTGD


class MLP(nn.Module):
    def __init__(self, C: int):
        super().__init__()
        self.up = Linear(C, MLP_RATIO * C)
        self.down = Linear(MLP_RATIO * C, C)

    def forward(self, x_BTC, ops):
        return ops.fused_mlp(x_BTC, self.up.weight, self.down.weight)


class Block(nn.Module):
    def __init__(self, shape: Shape, window: int, has_value_embed: bool):
        super().__init__()
        self.attention = Attention(shape, window, has_value_embed)
        self.mlp = MLP(shape.d_model)

    def forward(self, x_BTC, normed_BTC, ve_BTGD, rotary, attend, ops):
        """The residual stream after attention, and what the MLP adds to it; None where a kernel has added it."""
        heads_BTC = self.attention(normed_BTC, ve_BTGD, rotary, attend, ops)
        if ops.residual_linear is None and ops.residual_mlp is None:
            x_BTC, normed_BTC = ops.residual_rmsnorm(x_BTC, self.attention.out(heads_BTC))
            return x_BTC, self.mlp(normed_BTC, ops)
        x_BTC = (ops.residual_linear or residual_linear)(x_BTC, heads_BTC, self.attention.out.weight)
        if ops.residual_mlp is None:
            return x_BTC, self.mlp(rmsnorm(x_BTC), ops)
        return ops.residual_mlp(x_BTC, self.mlp.up.weight, self.mlp.down.weight), None


class GPT(nn.Module):
    def __init__(self, shape: Shape, vocab_size: int, dtype: torch.dtype, attend=None, ops=None):
        super().__init__()
        C, head_dim = shape.d_model, shape.d_model // shape.heads
        self.attend, self.ops = attend, ops or SimpleNamespace(**OPS)
        self.windows = window_sizes(shape)
        gated = [has_value_embed(layer, shape.depth) for layer in range(shape.depth)]
        self.embed = Embedding(vocab_size, C, dtype)
        kv_width = C // QUERIES_PER_KV
        self.value_embeds = nn.ModuleDict(
            {str(layer): Embedding(vocab_size, kv_width, dtype) for layer in range(shape.depth) if gated[layer]}
        )
        self.blocks = nn.ModuleList(map(Block, [shape] * shape.depth, self.windows, gated))
        self.resid_lambdas = nn.Parameter(torch.empty(shape.depth))
        self.x0_lambdas = nn.Parameter(torch.empty(shape.depth))
        self.head = Linear(C, vocab_size)
        length = max(ROTARY_LENGTH, shape.seq_len)
        cos_TK, sin_TK = rotary_tables(length, head_dim, ROTARY_BASE, dtype, self.head.weight.device)
        self.register_buffer("cos_TK", cos_TK, persistent=False)
        self.register_buffer("sin_TK", sin_TK, persistent=False)

    def hidden(self, tokens_BT):
        T = tokens_BT.shape[1]
        rotary = self.cos_TK[:T], self.sin_TK[:T]
        x0_BTC = rmsnorm(self.embed(tokens_BT))
        value_embeds = {layer: table(tokens_BT) for layer, table in self.value_embeds.items()}
        x_BTC = residual_blend(x0_BTC, x0_BTC, self.resid_lambdas[0], self.x0_lambdas[0])
        normed_BTC = rmsnorm(x_BTC)
        for layer, block in enumerate(self.blocks):
            x_BTC, y_BTC = block(x_BTC, normed_BTC, value_embeds.get(str(layer)), rotary, self.attend, self.ops)
            if layer + 1 < len(self.blocks):
                blend = self.resid_lambdas[layer + 1], self.x0_lambdas[layer + 1]
                x_BTC, normed_BTC = self.prelude(x_BTC, y_BTC, x0_BTC, *blend)
        return rmsnorm(x_BTC) if y_BTC is None else self.ops.residual_rmsnorm(x_BTC, y_BTC)[1]

    def prelude(self, x_BTC, y_BTC, x0_BTC, a, b):
        if y_BTC is None:
            return self.ops.blend_rmsnorm(x_BTC, x0_BTC, a, b)
        return self.ops.block_prelude(x_BTC, y_BTC, x0_BTC, a, b)

    def loss(self, rows):
        x_BTC = self.hidden(rows[:, :-1])
        return self.ops.cross_entropy_full(x_BTC.flatten(0, 1), self.head.weight, rows[:, 1:].flatten(), SOFTCAP)

    def logits(self, tokens_BT):
        return logits_softcap(self.head(self.hidden(tokens_BT)), SOFTCAP)

    @torch.no_grad()
    def init_weights(self, seed: int):
        """Draws on the CPU, so that a seed gives the same weights on every device."""
        generator = torch.Generator().manual_seed(seed)
        bound = (3 / self.head.weight.shape[1]) ** 0.5
        for name, p in self.named_parameters():
            values = torch.zeros(p.shape)
            if name == "embed.weight":
                values.normal_(0.0, 1.0, generator=generator)
            elif name == "head.weight":
                values.normal_(0.0, 0.001, generator=generator)
            elif name == "resid_lambdas":
                values.fill_(1.0)
            elif name == "x0_lambdas":
                values.fill_(X0_INIT)
            elif not name.endswith(("out.weight", "down.weight", "gate.weight")):  # those start at 0
                values.uniform_(-bound, bound, generator=generator)
            p.copy_(values)


def has_value_embed(layer: int, depth: int) -> bool:
    """Every other layer, the last one always."""
    return layer % 2 == (depth - 1) % 2


def window_sizes(shape: Shape) -> list[int]:
    """Tokens each layer looks back: L = seq_len, S = half; the last layer is L whatever the pattern says."""
    look_back = {"L": shape.seq_len, "S": shape.seq_len // 2}
    pattern = shape.window_pattern
    return [look_back[pattern[layer % len(pattern)]] for layer in range(shape.depth - 1)] + [look_back["L"]]


def adamw(model: GPT, rates_on_device: bool) -> torch.optim.AdamW:
    """AdamW for everything that is not a matrix inside a block. A recorded step reads its rates from the device."""
    scale = (model.head.weight.shape[1] / 768) ** -0.5
    groups = [
        {"params": [model.head.weight], "lr": UNEMBEDDING_LR * scale},
        {"params": [model.embed.weight], "lr": EMBEDDING_LR * scale},
        {"params": [table.weight for table in model.value_embeds.values()], "lr": EMBEDDING_LR * scale},
        {"params": [model.resid_lambdas], "lr": SCALAR_LR * 0.01},
        {"params": [model.x0_lambdas], "lr": SCALAR_LR, "betas": X0_BETAS},
    ]
    options = {"eps": ADAM_EPS, "weight_decay": 0.0, "fused": True, "capturable": rates_on_device}
    optimizer = torch.optim.AdamW(groups, betas=ADAM_BETAS, **options)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        if rates_on_device:
            group["lr"] = torch.tensor(group["lr"], device=model.head.weight.device)
        for p in group["params"]:  # made here, not at the first step, so that state() is complete from the start
            step = torch.zeros((), device=p.device)
            optimizer.state[p] = {"step": step, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    return optimizer


class Muon:
    """Momentum, orthogonalized (Polar Express), variance-reduced (NorMuon, arXiv 2510.05491), cautious weight decay.

    Matrices of one shape are updated together. They lie in one array from then on, which no step needs to stack.
    """

    def __init__(self, matrices: list[nn.Parameter], device, polynomial):
        self.groups = {}
        for shape in sorted({p.shape for p in matrices}):
            params = [p for p in matrices if p.shape == shape]
            p_NRC = torch.stack([p.detach() for p in params])
            for p, part in zip(params, p_NRC.unbind(), strict=True):
                p.data = part
            momentum_NRC = torch.zeros(len(params), *shape, device=device.torch)
            variance = momentum_NRC.mean(-1 if shape[0] >= shape[1] else -2, keepdim=True)
            lr = torch.zeros((), device=device.torch)
            self.groups[f"{shape[0]}x{shape[1]}"] = (params, p_NRC, momentum_NRC, variance, lr)
        # 0-d tensors: a Python number that changes every step would recompile the update
        self.momentum, self.decay = (torch.zeros((), device=device.torch) for _ in range(2))
        self.dtype = device.dtype
        self.update = device.compile(muon_update, dynamic=False)
        self.polynomial = polynomial

    def set_rates(self, momentum: float, lr: float, decay: float):
        self.momentum.fill_(momentum)
        self.decay.fill_(decay)
        for params, _, _, _, rate in self.groups.values():
            rows, columns = params[0].shape
            rate.fill_(lr * max(1.0, rows / columns) ** 0.5)

    @torch.no_grad()
    def step(self):
        for params, p_NRC, momentum_NRC, variance, lr in self.groups.values():
            g_NRC = torch.stack([p.grad for p in params])
            rates = self.momentum, lr, self.decay
            self.update(p_NRC, g_NRC, momentum_NRC, variance, *rates, self.dtype, self.polynomial)


def muon_update(p_NRC, g_NRC, momentum_NRC, variance, momentum, lr, decay, dtype, polynomial):
    momentum_NRC.lerp_(g_NRC, 1 - momentum)
    g_NRC = g_NRC.lerp(momentum_NRC, momentum)  # Nesterov
    g_NRC = polar_express(g_NRC.to(dtype), MUON_STEPS, polynomial).float()
    # Rows (columns of wide matrices) are divided by their running RMS; then the norm from before is restored.
    reduced = -1 if variance.shape[-1] == 1 else -2
    mean_square = g_NRC.square().mean(reduced, keepdim=True)
    variance.lerp_(mean_square, 1 - MUON_BETA2)
    scale = variance.clamp_min(1e-10).rsqrt()
    norm = mean_square.sum((-2, -1), keepdim=True).sqrt()
    scaled_norm = (mean_square * scale.square()).sum((-2, -1), keepdim=True).sqrt()
    # both norms lack the same factor sqrt(size of the reduced dimension)
    g_NRC = g_NRC * (scale * (norm / scaled_norm.clamp_min(1e-10)))
    agree = (g_NRC * p_NRC) >= 0  # cautious: decay only where the update shrinks the weight too
    p_NRC.sub_(lr * g_NRC + lr * decay * p_NRC * agree)


def polynomial_of(ops):
    """A step of Polar Express: by one kernel where one was chosen, else by products."""
    return ops.muon_polynomial or partial(muon_polynomial, gram=ops.muon_symmetric_matmul)


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
        self.adamw = adamw(model, device.whole_step)
        self.muon = Muon(list(model.blocks.parameters()), device, polynomial_of(model.ops))
        self.steps = 0
        self.multiplier = lr_multiplier(0.0)
        self._parameters, self._graphs = list(model.parameters()), device.graphs
        self._loss = device.compile(model.loss, dynamic=False)
        self._logits = device.compile(model.logits, dynamic=False)
        self._run = choose_step(device, self._compute, self._live)

    def step(self, rows, progress: float):
        """One optimizer step on rows [rows_per_step, T + 1]; the mean loss, still on the device."""
        self._set_rates(progress)
        loss = self._run(rows)
        self.steps += 1
        return loss

    def _compute(self, rows):
        """What the device does in a step: the same kernels every time, since all that changes lies in tensors."""
        self.model.zero_grad(set_to_none=True)  # a recording that broke off leaves gradients behind
        passes = rows.split(self.shape.device_batch_size)
        total = torch.zeros((), device=rows.device)
        for rows_of_pass in passes:
            loss = self._loss(rows_of_pass) / len(passes)
            self._accumulate(torch.autograd.grad(loss, self._parameters))
            total += loss.detach()
        self._update()
        return total

    def _accumulate(self, gradients):
        """Adds to .grad, all of one dtype in few launches; backward() would start a kernel for each parameter."""
        for dtype in sorted({p.dtype for p in self._parameters}, key=str):
            pairs = [(p, g) for p, g in zip(self._parameters, gradients, strict=True) if p.dtype == dtype]
            if pairs[0][0].grad is None:
                for p, g in pairs:  # a CUDA graph overwrites what it returned; optimizers want the weight's layout
                    stays = g.stride() == p.stride() and not self._graphs
                    p.grad = g if stays else torch.empty_like(p).copy_(g)
            else:
                torch._foreach_add_([p.grad for p, _ in pairs], [g for _, g in pairs])

    def _set_rates(self, progress: float):
        self.multiplier = lr_multiplier(progress)
        for group in self.adamw.param_groups:
            lr = group["initial_lr"] * self.multiplier
            group["lr"] = group["lr"].fill_(lr) if isinstance(group["lr"], torch.Tensor) else lr
        self.muon.set_rates(muon_momentum(self.steps), MATRIX_LR * self.multiplier, WEIGHT_DECAY * (1 - progress))

    def _update(self):
        self.adamw.step()
        self.muon.step()
        self.model.zero_grad(set_to_none=True)

    def _live(self):
        """Arrays that a step changes in place."""
        state = self.state()
        return [x for group in state.values() for name, x in group.items() if name != "steps"]

    @torch.no_grad()
    def logits(self, tokens_BT):
        """Float32 [B, T, V] after the softcap, for any T up to ROTARY_LENGTH."""
        return self._logits(tokens_BT)

    def state(self):
        optimizer = {"steps": torch.tensor(self.steps)}
        for name, p in self.model.named_parameters():
            optimizer |= {f"{name}.{key}": value for key, value in self.adamw.state.get(p, {}).items()}
        for shape, (_, _, momentum_NRC, variance, _) in self.muon.groups.items():
            optimizer |= {f"muon.{shape}.momentum": momentum_NRC, f"muon.{shape}.variance": variance}
        return {"model": self.model.state_dict(), "optimizer": optimizer}

    @torch.no_grad()
    def load(self, state):
        """In place. A state without "optimizer" is enough to compute logits."""
        own = self.state()
        for group, arrays in state.items():
            if arrays.keys() != own[group].keys():
                raise ValueError(f"{group} state does not fit: {sorted(arrays.keys() ^ own[group].keys())}")
            for name, array in arrays.items():
                own[group][name].copy_(array)
        self.steps = int(own["optimizer"]["steps"])

    def telemetry(self):
        return {"lr_multiplier": self.multiplier, "muon_momentum": muon_momentum(self.steps)}

    def flops_per_token(self):
        """Forward and backward: 6 per weight in a product, 12 per channel and visible key in attention."""
        products = sum(p.numel() for p in [*self.model.blocks.parameters(), self.model.head.weight])
        return 6 * products + sum(12 * self.shape.d_model * window for window in self.model.windows)


def build(shape: Shape, vocab_size: int, seed: int, device) -> Recipe:
    windows = sorted(set(window_sizes(shape)))
    head_dim = shape.d_model // shape.heads
    attend = choose_attention(device, head_dim, shape.heads, shape.heads // QUERIES_PER_KV, windows)
    ops = choose_kernels(device, "torch", **OPS)
    with device.torch:
        model = GPT(shape, vocab_size, device.dtype, attend, ops)
    model.init_weights(seed)
    return Recipe(shape, model, device)
