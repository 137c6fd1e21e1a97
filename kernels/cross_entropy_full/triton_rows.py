"""The loss by one kernel that reads each row of bf16 logits once and leaves its gradient where the logits were.

Softcap, log-sum-exp, loss and gradient of a row happen in registers: float32 logits exist nowhere. Products are
PyTorch's. The idea of gradients in the forward pass is Liger's (arXiv 2410.10989), as in torch_chunked.
"""

import torch
import triton
import triton.language as tl

from kernels.op_cost import OpCost, bytes_of, op_cost

CHUNK_ELEMENTS = 2**28
"""logits at a time: 512 MiB in bf16"""
LARGEST_VOCABULARY = 2**16
"""a row must fit the registers of one program"""


@triton.jit
def _row_kernel(z_ptr, target_ptr, nats_ptr, V, cap, share, BLOCK: tl.constexpr):
    """nats of a row; z becomes share x its gradient. With h = sigmoid(2 z / cap): tanh(z / cap) = 2 h - 1, and its
    derivative 4 h (1 - h) / cap; softmax ignores the shift by -cap."""
    row = tl.program_id(0).to(tl.int64)
    v = tl.arange(0, BLOCK)
    seen = v < V
    z = tl.load(z_ptr + row * V + v, mask=seen, other=0.0).to(tl.float32)
    h = tl.sigmoid(z * (2.0 / cap))
    s = tl.where(seen, 2.0 * cap * h, float("-inf"))
    largest = tl.max(s, 0)
    e = tl.exp(s - largest)
    total = tl.sum(e, 0)
    hit = v == tl.load(target_ptr + row)
    tl.store(nats_ptr + row, tl.log(total) + largest - tl.sum(tl.where(hit, s, 0.0), 0))
    dz = (e / total - hit.to(tl.float32)) * (4.0 * h * (1.0 - h) * share)
    tl.store(z_ptr + row * V + v, dz.to(z_ptr.dtype.element_ty), mask=seen)


def cross_entropy_full(x_NC: torch.Tensor, w_VC: torch.Tensor, targets_N: torch.Tensor, cap: float) -> torch.Tensor:
    """As torch_reference.cross_entropy_full; gradients are computed at once, so it is for training only."""
    if len(w_VC) > LARGEST_VOCABULARY:
        raise ValueError(f"a vocabulary of {len(w_VC)} does not fit one program; at most {LARGEST_VOCABULARY}")
    return _forward(x_NC.contiguous(), w_VC, targets_N, cap)[0]


@torch.library.custom_op("autoresearch::cross_entropy_full", mutates_args=())
def _forward(
    x: torch.Tensor, w: torch.Tensor, targets: torch.Tensor, cap: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean nats and its gradients by x and w."""
    N, V = len(x), len(w)
    narrow, parts = w.to(x.dtype).contiguous(), []
    nats, dx = x.new_empty(N, dtype=torch.float32), torch.empty_like(x)
    for rows in _chunks(N, V):
        z = x[rows] @ narrow.T
        _to_gradient_(z, targets[rows], nats[rows], cap, 1 / N)
        torch.mm(z, narrow, out=dx[rows])
        parts.append((z.T @ x[rows]).to(w.dtype))
    return nats.mean(), dx, sum(parts[1:], parts[0])


def _chunks(N: int, V: int) -> list[slice]:
    rows = max(1, CHUNK_ELEMENTS // V)
    return [slice(start, start + rows) for start in range(0, N, rows)]


def _to_gradient_(z: torch.Tensor, targets: torch.Tensor, nats: torch.Tensor, cap: float, share: float) -> None:
    block = triton.next_power_of_2(z.shape[1])
    warps = min(max(block // 1024, 4), 16)
    _row_kernel[(len(z),)](z, targets, nats, z.shape[1], cap, share, BLOCK=block, num_warps=warps)


@_forward.register_fake
def _(x, w, targets, cap):
    return x.new_empty((), dtype=torch.float32), torch.empty_like(x), torch.empty_like(w)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*output[1:])


def _gradients(ctx, dloss, *_):
    dx, dw = ctx.saved_tensors
    return (dx * dloss).to(dx.dtype), (dw * dloss).to(dw.dtype), None, None


_forward.register_autograd(_gradients, setup_context=_setup)


@op_cost("autoresearch::cross_entropy_full")
def _cost(x, w, targets, cap):
    """Logits: written, read, overwritten by their gradient, read by two products. Nine launches for a first chunk."""
    (N, C), V, narrow = x.shape, len(w), x.element_size()
    logits = 5 * N * V * narrow
    hidden = 3 * bytes_of([x]) + bytes_of([targets]) + 8 * N
    weights = 2 * bytes_of([w]) + 5 * V * C * narrow  # cast, two products, and a gradient that is cast back
    chunks = len(_chunks(N, V))
    return OpCost(bytes=logits + hidden + weights, flops=6 * N * V * C, launches=2 + 5 * chunks)
