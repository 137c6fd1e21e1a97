"""Rotary embedding and norm of queries and keys: one launch each way, float32 in between.

Backward reads the results, which attention keeps anyway, and one number a head: queries and keys before the rotation
need not be kept.
"""

import torch
import triton
import triton.language as tl

EPS = 2.0**-23
ELEMENTS = 1024
"""of half a head each, of a program: with twice as many, backward takes 195 registers a thread"""


@triton.jit
def _place(program, num_rows, heads, T, K, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Offsets of both halves of some heads, of their angles, and which of them exist."""
    rows = program.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    k = tl.arange(0, BLOCK)
    seen = (rows[:, None] < num_rows) & (k[None, :] < K)
    first = rows[:, None] * (2 * K) + k[None, :]
    angle = (rows // heads % T)[:, None] * K + k[None, :]
    return rows, first, angle, seen


@triton.jit
def _rotate(
    x_ptr, n_ptr, r_ptr, cos_ptr, sin_ptr, program, num_rows, heads, T, K,
    EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows, first, angle, seen = _place(program, num_rows, heads, T, K, ROWS, BLOCK)
    a = tl.load(x_ptr + first, mask=seen, other=0.0).to(tl.float32)
    b = tl.load(x_ptr + first + K, mask=seen, other=0.0).to(tl.float32)
    cos = tl.load(cos_ptr + angle, mask=seen, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + angle, mask=seen, other=0.0).to(tl.float32)
    ra, rb = a * cos + b * sin, b * cos - a * sin
    r = 1.0 / tl.sqrt(tl.sum(ra * ra + rb * rb, 1) / (2 * K) + EPS)
    tl.store(r_ptr + rows, r, mask=rows < num_rows)
    tl.store(n_ptr + first, (ra * r[:, None]).to(n_ptr.dtype.element_ty), mask=seen)
    tl.store(n_ptr + first + K, (rb * r[:, None]).to(n_ptr.dtype.element_ty), mask=seen)


@triton.jit
def _rotate_back(
    dn_ptr, n_ptr, r_ptr, dx_ptr, cos_ptr, sin_ptr, program, num_rows, heads, T, K,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The norm's gradient r (dn - n mean(dn n)), turned back by the same angle."""
    rows, first, angle, seen = _place(program, num_rows, heads, T, K, ROWS, BLOCK)
    na = tl.load(n_ptr + first, mask=seen, other=0.0).to(tl.float32)
    nb = tl.load(n_ptr + first + K, mask=seen, other=0.0).to(tl.float32)
    dna = tl.load(dn_ptr + first, mask=seen, other=0.0).to(tl.float32)
    dnb = tl.load(dn_ptr + first + K, mask=seen, other=0.0).to(tl.float32)
    cos = tl.load(cos_ptr + angle, mask=seen, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + angle, mask=seen, other=0.0).to(tl.float32)
    r = tl.load(r_ptr + rows, mask=rows < num_rows, other=0.0)[:, None]
    mean = (tl.sum(dna * na + dnb * nb, 1) / (2 * K))[:, None]
    ra, rb = r * (dna - na * mean), r * (dnb - nb * mean)
    tl.store(dx_ptr + first, (ra * cos - rb * sin).to(dx_ptr.dtype.element_ty), mask=seen)
    tl.store(dx_ptr + first + K, (ra * sin + rb * cos).to(dx_ptr.dtype.element_ty), mask=seen)


@triton.jit
def _forward_kernel(
    q_ptr, k_ptr, qn_ptr, kn_ptr, rq_ptr, rk_ptr, cos_ptr, sin_ptr, tokens, T, H, G, K,
    EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first programs take queries, the others keys."""
    program, of_q = tl.program_id(0), tl.cdiv(tokens * H, ROWS)
    if program < of_q:
        _rotate(q_ptr, qn_ptr, rq_ptr, cos_ptr, sin_ptr, program, tokens * H, H, T, K, EPS, ROWS, BLOCK)
    else:
        _rotate(k_ptr, kn_ptr, rk_ptr, cos_ptr, sin_ptr, program - of_q, tokens * G, G, T, K, EPS, ROWS, BLOCK)


@triton.jit
def _backward_kernel(
    dqn_ptr, dkn_ptr, qn_ptr, kn_ptr, rq_ptr, rk_ptr, dq_ptr, dk_ptr, cos_ptr, sin_ptr, tokens, T, H, G, K,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program, of_q = tl.program_id(0), tl.cdiv(tokens * H, ROWS)
    if program < of_q:
        _rotate_back(dqn_ptr, qn_ptr, rq_ptr, dq_ptr, cos_ptr, sin_ptr, program, tokens * H, H, T, K, ROWS, BLOCK)
    else:
        rest = program - of_q
        _rotate_back(dkn_ptr, kn_ptr, rk_ptr, dk_ptr, cos_ptr, sin_ptr, rest, tokens * G, G, T, K, ROWS, BLOCK)


def rope_qk_fused(
    q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """As torch_reference.rope_qk_fused; the tables get no gradient."""
    return _forward(q_BTHD.contiguous(), k_BTGD.contiguous(), cos_TK.contiguous(), sin_TK.contiguous())[:2]


def _sizes(q: torch.Tensor, k: torch.Tensor) -> tuple[tuple[int, ...], tuple[int], dict]:
    """Lengths the kernels take, their grid, their block."""
    B, T, H, D = q.shape
    G, K = k.shape[2], D // 2
    block = triton.next_power_of_2(K)
    rows = max(1, ELEMENTS // block)
    programs = triton.cdiv(B * T * H, rows) + triton.cdiv(B * T * G, rows)
    return (B * T, T, H, G, K), (programs,), {"ROWS": rows, "BLOCK": block, "num_warps": 4}


@torch.library.custom_op("autoresearch::rope_qk_fused", mutates_args=())
def _forward(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both results, and the factor of each head."""
    sizes, grid, block = _sizes(q, k)
    qn, kn = torch.empty_like(q), torch.empty_like(k)
    rq, rk = (x.new_empty(x.shape[:3], dtype=torch.float32) for x in (q, k))
    _forward_kernel[grid](q, k, qn, kn, rq, rk, cos, sin, *sizes, EPS=EPS, **block)
    return qn, kn, rq, rk


@_forward.register_fake
def _(q, k, cos, sin):
    factors = (x.new_empty(x.shape[:3], dtype=torch.float32) for x in (q, k))
    return torch.empty_like(q), torch.empty_like(k), *factors


@torch.library.custom_op("autoresearch::rope_qk_fused_backward", mutates_args=())
def _backward(
    dqn: torch.Tensor,
    dkn: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    qn: torch.Tensor,
    kn: torch.Tensor,
    rq: torch.Tensor,
    rk: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    sizes, grid, block = _sizes(qn, kn)
    dq, dk = torch.empty_like(qn), torch.empty_like(kn)
    tensors = dqn.contiguous(), dkn.contiguous(), qn, kn, rq, rk, dq, dk, cos, sin
    _backward_kernel[grid](*tensors, *sizes, **block)
    return dq, dk


@_backward.register_fake
def _(dqn, dkn, cos, sin, qn, kn, rq, rk):
    return torch.empty_like(qn), torch.empty_like(kn)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs[2:], *output)


def _gradients(ctx, dqn, dkn, *_):
    return *_backward(dqn, dkn, *ctx.saved_tensors), None, None


_forward.register_autograd(_gradients, setup_context=_setup)
