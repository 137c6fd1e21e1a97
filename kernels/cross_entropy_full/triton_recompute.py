"""The loss without logits in memory: a first product ends in each row's log-sum-exp, a second one in the gradient.

One product more than triton_rows (of three), and two passes fewer (of five) over [N, V]: only the gradient is stored,
and read by the two products that it is for. Where the gradient of x is computed, and why in forward: torch_chunked.
"""

import torch
import triton
import triton.language as tl

from kernels.op_cost import OpCost, bytes_of, op_cost
from kernels.triton_product import BLOCK_N, grid, options, product_of_tile, tile

CHUNK_ELEMENTS = 2**28
"""of the gradient at a time: 512 MiB in bf16"""
LARGEST_CAP = 40.0
"""exp(-2 cap) is a normal float32, so the cap itself stands for the largest logit of a row"""


@triton.jit
def _nats_kernel(
    x_ptr, w_ptr, target_ptr, total_ptr, nats_ptr, N, V, C, x_row, w_row, cap,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """total = sum over v of exp(s_v - cap), nats = log(total) - (s_target - cap), of BM rows.

    With h = sigmoid(2 z / cap): s = cap tanh(z / cap) = 2 cap h - cap."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM).to(tl.int64)
    target = tl.load(target_ptr + rows, mask=rows < N, other=-1)
    total, hit = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    for first in range(0, V, BN):
        columns = first + tl.arange(0, BN).to(tl.int64)
        z = product_of_tile(x_ptr, w_ptr, rows, columns, N, V, C, x_row, 1, w_row, 1, BM, BN, BK, PRECISION)
        below = 2.0 * cap * (tl.sigmoid(z * (2.0 / cap)) - 1.0)
        total += tl.sum(tl.where(columns[None, :] < V, tl.exp(below), 0.0), 1)
        hit += tl.sum(tl.where(columns[None, :] == target[:, None], below, 0.0), 1)
    tl.store(total_ptr + rows, total, mask=rows < N)
    tl.store(nats_ptr + rows, tl.log(total) - hit, mask=rows < N)


@triton.jit
def _gradient_kernel(
    x_ptr, w_ptr, target_ptr, total_ptr, dz_ptr, N, V, C, x_row, w_row, cap, share,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dz = share (softmax - one at the target) 4 h (1 - h), of one tile of logits."""
    rows, columns = tile(N, V, BM, BN, GROUP)
    z = product_of_tile(x_ptr, w_ptr, rows, columns, N, V, C, x_row, 1, w_row, 1, BM, BN, BK, PRECISION)
    h = tl.sigmoid(z * (2.0 / cap))
    total = tl.load(total_ptr + rows, mask=rows < N, other=1.0)
    target = tl.load(target_ptr + rows, mask=rows < N, other=-1)
    hit = (columns[None, :] == target[:, None]).to(tl.float32)
    dz = (tl.exp(2.0 * cap * (h - 1.0)) / total[:, None] - hit) * (4.0 * h * (1.0 - h) * share)
    seen = (rows[:, None] < N) & (columns[None, :] < V)
    tl.store(dz_ptr + rows[:, None] * V + columns[None, :], dz.to(dz_ptr.dtype.element_ty), mask=seen)


def cross_entropy_full(x_NC: torch.Tensor, w_VC: torch.Tensor, targets_N: torch.Tensor, cap: float) -> torch.Tensor:
    """As torch_reference.cross_entropy_full; gradients are computed at once, so it is for training only."""
    if cap > LARGEST_CAP:
        raise ValueError(f"a cap of {cap:g} is too large for float32 sums without a maximum; at most {LARGEST_CAP:g}")
    return _forward(x_NC.contiguous(), w_VC, targets_N, cap)[0]


@torch.library.custom_op("autoresearch::cross_entropy_recompute", mutates_args=())
def _forward(
    x: torch.Tensor, w: torch.Tensor, targets: torch.Tensor, cap: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean nats and its gradients by x and w."""
    (N, C), V = x.shape, len(w)
    narrow, parts = w.to(x.dtype).contiguous(), []
    total, nats = x.new_empty(2, N, dtype=torch.float32)
    dx, tiles, rows_tiles = torch.empty_like(x), options(x), options(x, BN=BLOCK_N // 2)
    strides = x.stride(0), narrow.stride(0)
    whole_rows = (triton.cdiv(N, rows_tiles["BM"]),)
    _nats_kernel[whole_rows](x, narrow, targets, total, nats, N, V, C, *strides, cap, **rows_tiles)
    for rows in _chunks(N, V):
        part = x[rows]
        dz = x.new_empty(len(part), V)
        tensors = part, narrow, targets[rows], total[rows], dz
        _gradient_kernel[grid(len(part), V)](*tensors, len(part), V, C, *strides, cap, 1 / N, **tiles)
        torch.mm(dz, narrow, out=dx[rows])
        parts.append((dz.T @ part).to(w.dtype))
    return nats.mean(), dx, sum(parts[1:], parts[0])


def _chunks(N: int, V: int) -> list[slice]:
    rows = max(1, CHUNK_ELEMENTS // V)
    return [slice(start, start + rows) for start in range(0, N, rows)]


@_forward.register_fake
def _(x, w, targets, cap):
    return x.new_empty((), dtype=torch.float32), torch.empty_like(x), torch.empty_like(w)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*output[1:])


def _gradients(ctx, dloss, *_):
    dx, dw = ctx.saved_tensors
    return (dx * dloss).to(dx.dtype), (dw * dloss).to(dw.dtype), None, None


_forward.register_autograd(_gradients, setup_context=_setup)


@op_cost("autoresearch::cross_entropy_recompute")
def _cost(x, w, targets, cap):
    """The gradient of the logits: written, read by two products. Weights: cast, read by three products and, as their
    own gradient, written, read and cast back."""
    (N, C), V, narrow = x.shape, len(w), x.element_size()
    hidden = 4 * bytes_of([x]) + 2 * bytes_of([targets]) + 4 * 4 * N
    weights = 2 * bytes_of([w]) + 6 * V * C * narrow
    chunks = len(_chunks(N, V))
    return OpCost(bytes=3 * N * V * narrow + hidden + weights, flops=8 * N * V * C, launches=2 + 5 * chunks)
