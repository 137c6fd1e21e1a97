"""The same loss a few rows at a time: the float32 logits of one chunk live, and gradients are made in the forward pass.

Liger's idea (arXiv 2410.10989): the loss is a scalar, so its gradient is known up to a factor as soon as a chunk's
logits are. Saves the memory of [N, V] float32 and, on a CPU, keeps the chunk in cache. For training only: it always
computes gradients.
"""

import torch

CHUNK_ELEMENTS = {"cpu": 2**20, "mps": 2**25, "cuda": 2**28}
"""logits of one chunk: about the L2 cache of a CPU, 1 GiB of float32 on a GPU"""


def cross_entropy_full(x_NC: torch.Tensor, w_VC: torch.Tensor, targets_N: torch.Tensor, cap: float) -> torch.Tensor:
    """As torch_reference.cross_entropy_full; the weight's gradient accumulates over chunks in w's own dtype."""
    return _ChunkedCrossEntropy.apply(x_NC, w_VC, targets_N, cap)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_NC, w_VC, targets_N, cap):
        N, V = len(x_NC), len(w_VC)
        rows = max(1, CHUNK_ELEMENTS[x_NC.device.type] // V)
        w = w_VC.to(x_NC.dtype)
        dw_VC = torch.zeros_like(w_VC)
        dx, loss = [], torch.zeros((), device=x_NC.device)
        for x, targets in zip(x_NC.split(rows), targets_N.split(rows), strict=True):
            nats, dz = _chunk(x, w, targets[:, None], cap)
            dz = (dz / N).to(x.dtype)
            dx.append(dz @ w)
            dw_VC += dz.T @ x
            loss += nats
        ctx.save_for_backward(torch.cat(dx), dw_VC)
        return loss / N

    @staticmethod
    def backward(ctx, dloss):
        dx_NC, dw_VC = ctx.saved_tensors
        return dx_NC * dloss, dw_VC * dloss, None, None


def _chunk(x, w, targets, cap):
    """Summed nats of a chunk and their gradient by z = x w^T: (softmax(s) - onehot) (1 - tanh^2)."""
    u = torch.tanh((x @ w.T).float() / cap)
    s = cap * u
    lse = s.logsumexp(-1, keepdim=True)
    nats = (lse - s.gather(-1, targets)).sum()
    p = torch.exp(s - lse)
    return nats, p.scatter_add(-1, targets, -torch.ones_like(lse)) * (1 - u * u)
