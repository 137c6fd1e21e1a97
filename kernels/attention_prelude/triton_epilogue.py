"""All projections, rotation, norm and values in one kernel: what a product ends with happens before it is stored.

A program has both halves of one head of 128 tokens in registers. Backward is triton_fused's, which needs no result of
the products but q and k. Hidden states are read once a head, from cache but for the first time.
"""

import torch
import triton
import triton.language as tl

from kernels.attention_prelude.triton_fused import EPS, empty_heads, gradients, save_results
from kernels.op_cost import OpCost, bytes_of, op_cost

TOKENS = 128
"""of a program"""


@triton.jit
def _kernel(
    x_ptr, w_ptr, q_ptr, k_ptr, v_ptr, r_ptr, cos_ptr, sin_ptr, N, T, C, H, G, K,
    EPS: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of H + 2 G heads, the first H are queries, G keys, G values."""
    head = tl.program_id(0)
    tokens = tl.program_id(1).to(tl.int64) * BM + tl.arange(0, BM)
    k = tl.arange(0, BLOCK)
    a, b = tl.zeros((BM, BLOCK), tl.float32), tl.zeros((BM, BLOCK), tl.float32)
    for first in range(0, C, BC):
        c = first + tl.arange(0, BC)
        x = tl.load(x_ptr + tokens[:, None] * C + c[None, :], mask=(tokens[:, None] < N) & (c[None, :] < C), other=0.0)
        at = w_ptr + (head * 2 * K + k)[None, :] * C + c[:, None]
        inside = (k[None, :] < K) & (c[:, None] < C)
        a = tl.dot(x, tl.load(at, mask=inside, other=0.0), a, input_precision=PRECISION)
        b = tl.dot(x, tl.load(at + K * C, mask=inside, other=0.0), b, input_precision=PRECISION)
    seen = (tokens[:, None] < N) & (k[None, :] < K)
    if head >= H + G:
        value = (tokens * G + head - H - G)[:, None] * (2 * K) + k[None, :]
        tl.store(v_ptr + value, a.to(v_ptr.dtype.element_ty), mask=seen)
        tl.store(v_ptr + value + K, b.to(v_ptr.dtype.element_ty), mask=seen)
    else:
        angle = (tokens % T)[:, None] * K + k[None, :]
        cos = tl.load(cos_ptr + angle, mask=seen, other=0.0).to(tl.float32)
        sin = tl.load(sin_ptr + angle, mask=seen, other=0.0).to(tl.float32)
        ra, rb = a * cos + b * sin, b * cos - a * sin
        r = 1.0 / tl.sqrt(tl.sum(ra * ra + rb * rb, 1) / (2 * K) + EPS)
        tl.store(r_ptr + tokens * (H + G) + head, r, mask=tokens < N)
        na, nb = (ra * r[:, None]).to(q_ptr.dtype.element_ty), (rb * r[:, None]).to(q_ptr.dtype.element_ty)
        if head < H:
            query = (tokens * H + head)[:, None] * (2 * K) + k[None, :]
            tl.store(q_ptr + query, na, mask=seen)
            tl.store(q_ptr + query + K, nb, mask=seen)
        else:
            key = (tokens * G + head - H)[:, None] * (2 * K) + k[None, :]
            tl.store(k_ptr + key, na, mask=seen)
            tl.store(k_ptr + key + K, nb, mask=seen)


def attention_prelude(x_BTC, wq_HDC, wk_GDC, wv_GDC, cos_TK, sin_TK) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As torch_reference.attention_prelude; the tables get no gradient."""
    weights = torch.cat([wq_HDC, wk_GDC, wv_GDC]).to(x_BTC.dtype)
    return _forward(x_BTC.contiguous(), weights, cos_TK.contiguous(), sin_TK.contiguous(), len(wq_HDC))[:3]


@torch.library.custom_op("autoresearch::attention_prelude_epilogue", mutates_args=())
def _forward(
    x: torch.Tensor, w: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, H: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, k and v, and the factor of each head of q and k."""
    q, k, v, r = empty_heads(x, w, H)
    (B, T, C), (heads, D, _), wide = x.shape, w.shape, x.dtype == torch.float32
    block = max(16, triton.next_power_of_2(D // 2))  # the least a product takes
    sizes = {"BM": TOKENS, "BC": 32 if wide else 64, "BLOCK": block, "PRECISION": "ieee" if wide else "tf32"}
    grid = heads, triton.cdiv(B * T, TOKENS)  # heads of the same tokens run together
    tensors = x, w, q, k, v, r, cos, sin
    lengths = B * T, T, C, H, k.shape[2], D // 2
    _kernel[grid](*tensors, *lengths, EPS=EPS, **sizes, num_warps=8, num_stages=2 if wide else 3)
    return q, k, v, r


@_forward.register_fake
def _(x, w, cos, sin, H):
    return empty_heads(x, w, H)


_forward.register_autograd(gradients, setup_context=save_results)


@op_cost("autoresearch::attention_prelude_epilogue")
def _cost(x, w, cos, sin, H):
    """Hidden states and weights are read, q, k and v written."""
    tokens = x.numel() // x.shape[-1]
    heads = tokens * w.shape[0] * w.shape[1]
    factors = 4 * tokens * (w.shape[0] + H) // 2
    moved = bytes_of([x, w, cos, sin]) + heads * x.element_size() + factors
    return OpCost(bytes=moved, flops=2 * heads * x.shape[-1])
