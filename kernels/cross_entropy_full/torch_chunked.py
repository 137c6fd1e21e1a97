"""The same loss a few rows at a time: float32 logits live only in pieces, and gradients are made in the forward pass.

Liger's idea (arXiv 2410.10989): the loss is a scalar, so its gradient is known up to a factor as soon as a chunk's
logits are. Saves the memory of [N, V] float32 and, on a CPU, keeps the work in cache. For training only: it always
computes gradients.
"""

import torch

CHUNK_ELEMENTS = {"cpu": 2**23, "mps": 2**25, "cuda": 2**28}
"""logits of one product: enough rows for a fast one; they stay in the compute dtype"""
PIECE_ELEMENTS = {"cpu": 2**20, "mps": 2**25, "cuda": 2**28}
"""logits widened to float32 at a time: 4 MiB on a CPU, where every pass over them should find them in cache"""


def cross_entropy_full(x_NC: torch.Tensor, w_VC: torch.Tensor, targets_N: torch.Tensor, cap: float) -> torch.Tensor:
    """As torch_reference.cross_entropy_full; the weight's gradient accumulates over chunks in w's own dtype."""
    return _ChunkedCrossEntropy.apply(x_NC, w_VC, targets_N, cap)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_NC, w_VC, targets_N, cap):
        N, V, device = len(x_NC), len(w_VC), x_NC.device.type
        rows, piece = (max(1, table[device] // V) for table in (CHUNK_ELEMENTS, PIECE_ELEMENTS))
        w = w_VC.to(x_NC.dtype)
        dw_VC = torch.zeros_like(w_VC)
        dx, nats = [], torch.zeros((), device=x_NC.device)
        for x, targets in zip(x_NC.split(rows), targets_N.split(rows), strict=True):
            z = x @ w.T
            for part, t in zip(z.split(piece), targets.split(piece), strict=True):
                nats += _to_gradient_(part, t[:, None], cap)
            dx.append(z @ w)
            dw_VC += z.T @ x
        ctx.save_for_backward(torch.cat(dx), dw_VC)
        ctx.scale = 4 / N
        return nats / N

    @staticmethod
    def backward(ctx, dloss):
        dx_NC, dw_VC = ctx.saved_tensors
        scale = dloss * ctx.scale
        return dx_NC * scale, dw_VC * scale, None, None


def _to_gradient_(z, targets, cap):
    """Summed nats of logits z, which become a quarter of their gradient in place.

    With h = sigmoid(2 z / cap), tanh(z / cap) = 2 h - 1 and its derivative is 4 h (1 - h) / cap. Softmax ignores the
    shift by -cap, and needs no maximum taken off twice: p of a target is at least exp(-2 cap) / V. A sigmoid is one
    sixth of the time of a tanh on a CPU.
    """
    h = z.float().mul_(2 / cap).sigmoid_()
    p = torch.softmax(h * (2 * cap), -1)
    nats = -p.gather(-1, targets).log().sum()
    if torch.compiler.is_compiling():  # a scatter would have the compiler store p; a comparison fuses with the rest
        p = p - (torch.arange(z.shape[-1], device=z.device) == targets).to(p.dtype)
    else:
        p.scatter_add_(-1, targets, torch.full_like(targets, -1, dtype=p.dtype))
    z.copy_(torch.ops.aten.sigmoid_backward(p, h))  # p h (1 - h) in one pass
    return nats
