"""All projections in one product; one kernel each way rotates and normalizes queries and keys and parts the values off.

The product reads the hidden states once instead of three times, and backward's two products read them and write their
gradient once. Backward of rotation and norm reads the results, which attention keeps anyway, and one number a head.
"""

import torch
import triton
import triton.language as tl

from kernels.op_cost import OpCost, bytes_of, op_cost

EPS = 2.0**-23
ELEMENTS = 1024
"""of half a head each, of a program: with twice as many, backward takes 195 registers a thread"""


@triton.jit
def _forward_kernel(
    heads_ptr, q_ptr, k_ptr, v_ptr, r_ptr, cos_ptr, sin_ptr, num_rows, T, H, G, K,
    EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A row is a head of a token: of H + 2 G, the first H are queries, G keys, G values."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    k = tl.arange(0, BLOCK)
    token, head = rows // (H + 2 * G), rows % (H + 2 * G)
    seen = (rows[:, None] < num_rows) & (k[None, :] < K)
    first = rows[:, None] * (2 * K) + k[None, :]
    a = tl.load(heads_ptr + first, mask=seen, other=0.0)
    b = tl.load(heads_ptr + first + K, mask=seen, other=0.0)

    value = (token * G + head - H - G)[:, None] * (2 * K) + k[None, :]
    of_v = seen & (head[:, None] >= H + G)
    tl.store(v_ptr + value, a, mask=of_v)
    tl.store(v_ptr + value + K, b, mask=of_v)

    turned = seen & (head[:, None] < H + G)
    angle = (token % T)[:, None] * K + k[None, :]
    cos = tl.load(cos_ptr + angle, mask=turned, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + angle, mask=turned, other=0.0).to(tl.float32)
    a, b = a.to(tl.float32), b.to(tl.float32)
    ra, rb = a * cos + b * sin, b * cos - a * sin
    r = 1.0 / tl.sqrt(tl.sum(ra * ra + rb * rb, 1) / (2 * K) + EPS)
    tl.store(r_ptr + token * (H + G) + head, r, mask=(rows < num_rows) & (head < H + G))
    na, nb = (ra * r[:, None]).to(q_ptr.dtype.element_ty), (rb * r[:, None]).to(q_ptr.dtype.element_ty)
    query = (token * H + head)[:, None] * (2 * K) + k[None, :]
    of_q = seen & (head[:, None] < H)
    tl.store(q_ptr + query, na, mask=of_q)
    tl.store(q_ptr + query + K, nb, mask=of_q)
    key = (token * G + head - H)[:, None] * (2 * K) + k[None, :]
    of_k = turned & (head[:, None] >= H)
    tl.store(k_ptr + key, na, mask=of_k)
    tl.store(k_ptr + key + K, nb, mask=of_k)


@triton.jit
def _backward_kernel(
    dq_ptr, dk_ptr, dv_ptr, q_ptr, k_ptr, r_ptr, cos_ptr, sin_ptr, dheads_ptr, num_rows, T, H, G, K,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The norm's gradient r (dn - n mean(dn n)), turned back by the same angle; a value's passes through."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    k = tl.arange(0, BLOCK)
    token, head = rows // (H + 2 * G), rows % (H + 2 * G)
    seen = (rows[:, None] < num_rows) & (k[None, :] < K)
    query = (token * H + head)[:, None] * (2 * K) + k[None, :]
    key = (token * G + head - H)[:, None] * (2 * K) + k[None, :]
    value = (token * G + head - H - G)[:, None] * (2 * K) + k[None, :]
    of_q = seen & (head[:, None] < H)
    of_k = seen & (head[:, None] >= H) & (head[:, None] < H + G)
    of_v = seen & (head[:, None] >= H + G)
    na = tl.load(q_ptr + query, mask=of_q, other=0.0) + tl.load(k_ptr + key, mask=of_k, other=0.0)
    nb = tl.load(q_ptr + query + K, mask=of_q, other=0.0) + tl.load(k_ptr + key + K, mask=of_k, other=0.0)
    dna = tl.load(dq_ptr + query, mask=of_q, other=0.0) + tl.load(dk_ptr + key, mask=of_k, other=0.0)
    dnb = tl.load(dq_ptr + query + K, mask=of_q, other=0.0) + tl.load(dk_ptr + key + K, mask=of_k, other=0.0)
    na, nb, dna, dnb = na.to(tl.float32), nb.to(tl.float32), dna.to(tl.float32), dnb.to(tl.float32)
    angle = (token % T)[:, None] * K + k[None, :]
    cos = tl.load(cos_ptr + angle, mask=of_q | of_k, other=0.0).to(tl.float32)
    sin = tl.load(sin_ptr + angle, mask=of_q | of_k, other=0.0).to(tl.float32)
    turned = (rows < num_rows) & (head < H + G)
    r = tl.load(r_ptr + token * (H + G) + head, mask=turned, other=0.0)[:, None]
    mean = (tl.sum(dna * na + dnb * nb, 1) / (2 * K))[:, None]
    ra, rb = r * (dna - na * mean), r * (dnb - nb * mean)
    da, db = ra * cos - rb * sin, ra * sin + rb * cos
    da += tl.load(dv_ptr + value, mask=of_v, other=0.0).to(tl.float32)
    db += tl.load(dv_ptr + value + K, mask=of_v, other=0.0).to(tl.float32)
    first = rows[:, None] * (2 * K) + k[None, :]
    tl.store(dheads_ptr + first, da.to(dheads_ptr.dtype.element_ty), mask=seen)
    tl.store(dheads_ptr + first + K, db.to(dheads_ptr.dtype.element_ty), mask=seen)


def attention_prelude(x_BTC, wq_HDC, wk_GDC, wv_GDC, cos_TK, sin_TK) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As torch_reference.attention_prelude; the tables get no gradient."""
    weights = torch.cat([wq_HDC, wk_GDC, wv_GDC]).to(x_BTC.dtype)
    tables = cos_TK.contiguous(), sin_TK.contiguous()
    return _forward(x_BTC.contiguous(), weights, *tables, len(wq_HDC))[:3]


def _sizes(q: torch.Tensor, k: torch.Tensor) -> tuple[tuple[int, ...], tuple[int], dict]:
    """Lengths the kernels take, their grid, their block."""
    B, T, H, D = q.shape
    G, K = k.shape[2], D // 2
    block = triton.next_power_of_2(K)
    rows, num_rows = max(1, ELEMENTS // block), B * T * (H + 2 * G)
    return (num_rows, T, H, G, K), (triton.cdiv(num_rows, rows),), {"ROWS": rows, "BLOCK": block, "num_warps": 4}


@torch.library.custom_op("autoresearch::attention_prelude", mutates_args=())
def _forward(
    x: torch.Tensor, w: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, H: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, k and v, and the factor of each head of q and k."""
    q, k, v, r = empty_heads(x, w, H)
    sizes, grid, block = _sizes(q, k)
    heads = x.flatten(0, 1) @ w.flatten(0, 1).T
    _forward_kernel[grid](heads, q, k, v, r, cos, sin, *sizes, EPS=EPS, **block)
    return q, k, v, r


def empty_heads(x, w, H: int):
    (B, T, _), (heads, D, _) = x.shape, w.shape
    G = (heads - H) // 2
    q, k, v = (x.new_empty(B, T, count, D) for count in (H, G, G))
    return q, k, v, x.new_empty(B, T, H + G, dtype=torch.float32)


@_forward.register_fake
def _(x, w, cos, sin, H):
    return empty_heads(x, w, H)


@torch.library.custom_op("autoresearch::attention_prelude_backward", mutates_args=())
def _backward(
    dq: torch.Tensor,
    dk: torch.Tensor,
    dv: torch.Tensor,
    x: torch.Tensor,
    w: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    r: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of x and of the weights."""
    sizes, grid, block = _sizes(q, k)
    rows = x.flatten(0, 1)
    dheads = x.new_empty(len(rows), w.shape[0] * w.shape[1])
    tensors = dq.contiguous(), dk.contiguous(), dv.contiguous(), q, k, r, cos, sin, dheads
    _backward_kernel[grid](*tensors, *sizes, **block)
    return (dheads @ w.flatten(0, 1)).view(x.shape), (dheads.T @ rows).view(w.shape)


@_backward.register_fake
def _(dq, dk, dv, x, w, cos, sin, q, k, r):
    return torch.empty_like(x), torch.empty_like(w)


def save_results(ctx, inputs, output):
    q, k, _, r = output
    ctx.save_for_backward(*inputs[:4], q, k, r)


def gradients(ctx, dq, dk, dv, _):
    return *_backward(dq, dk, dv, *ctx.saved_tensors), None, None, None


_forward.register_autograd(gradients, setup_context=save_results)


@op_cost("autoresearch::attention_prelude")
def _forward_cost(x, w, cos, sin, H):
    """The product; then its result is read once, and q, k and v are written."""
    tokens = x.numel() // x.shape[-1]
    heads = tokens * w.shape[0] * w.shape[1]
    return OpCost(
        bytes=bytes_of([x, w, cos, sin]) + 3 * heads * x.element_size() + 4 * tokens * (w.shape[0] + H) // 2,
        flops=2 * heads * x.shape[-1],
        launches=2,
    )


@op_cost("autoresearch::attention_prelude_backward")
def _backward_cost(dq, dk, dv, x, w, cos, sin, q, k, r):
    """Gradients of the heads are written once and read by two products."""
    tokens = x.numel() // x.shape[-1]
    heads = tokens * w.shape[0] * w.shape[1]
    read = bytes_of([dq, dk, dv, q, k, r, cos, sin, x, w])
    return OpCost(
        bytes=read + 3 * heads * x.element_size() + bytes_of([x, w]), flops=4 * heads * x.shape[-1], launches=3
    )
