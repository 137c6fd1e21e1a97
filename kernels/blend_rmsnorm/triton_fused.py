"""Blend and norm in one pass each way: block_prelude where the sum was made by a product.

Backward adds up the gradients of both scalars in float32, program by program, without atomics: the same numbers give
the same sums.
"""

import torch
import triton
import triton.language as tl

from kernels.op_cost import OpCost, bytes_of, op_cost

EPS = 2.0**-23
ELEMENTS = 2048
"""of a program: some rows at once"""


@triton.jit
def _forward_kernel(
    x_ptr, x0_ptr, a_ptr, b_ptr, s_ptr, n_ptr, N, C,
    EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    at = rows[:, None] * C + columns[None, :]
    seen = (rows[:, None] < N) & (columns[None, :] < C)
    x = tl.load(x_ptr + at, mask=seen, other=0.0).to(tl.float32)
    x0 = tl.load(x0_ptr + at, mask=seen, other=0.0).to(tl.float32)
    narrow = (tl.load(a_ptr) * x + tl.load(b_ptr) * x0).to(s_ptr.dtype.element_ty)
    tl.store(s_ptr + at, narrow, mask=seen)
    s = narrow.to(tl.float32)  # the norm is of what later layers read
    r = 1.0 / tl.sqrt(tl.sum(s * s, 1) / C + EPS)
    tl.store(n_ptr + at, (s * r[:, None]).to(n_ptr.dtype.element_ty), mask=seen)


@triton.jit
def _backward_kernel(
    ds_ptr, dn_ptr, s_ptr, x_ptr, x0_ptr, a_ptr, b_ptr, dx_ptr, dx0_ptr, parts_ptr, N, C,
    EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """g = ds + r (dn - n mean(dn n)) with n = r s; dx = a g, dx0 = b g; this program's share of da and db."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    at = rows[:, None] * C + columns[None, :]
    seen = (rows[:, None] < N) & (columns[None, :] < C)
    s = tl.load(s_ptr + at, mask=seen, other=0.0).to(tl.float32)
    dn = tl.load(dn_ptr + at, mask=seen, other=0.0).to(tl.float32)
    ds = tl.load(ds_ptr + at, mask=seen, other=0.0).to(tl.float32)
    r = 1.0 / tl.sqrt(tl.sum(s * s, 1) / C + EPS)
    n = s * r[:, None]
    g = ds + r[:, None] * (dn - n * (tl.sum(dn * n, 1) / C)[:, None])
    tl.store(dx_ptr + at, (tl.load(a_ptr) * g).to(dx_ptr.dtype.element_ty), mask=seen)
    tl.store(dx0_ptr + at, (tl.load(b_ptr) * g).to(dx0_ptr.dtype.element_ty), mask=seen)
    x = tl.load(x_ptr + at, mask=seen, other=0.0).to(tl.float32)
    x0 = tl.load(x0_ptr + at, mask=seen, other=0.0).to(tl.float32)
    part = parts_ptr + tl.program_id(0) * 2
    tl.store(part, tl.sum(tl.sum(g * x, 1), 0))
    tl.store(part + 1, tl.sum(tl.sum(g * x0, 1), 0))


def blend_rmsnorm(
    x: torch.Tensor, x0: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """As torch_reference.blend_rmsnorm."""
    return _forward(x.contiguous(), x0.contiguous(), a, b)


def _sizes(x: torch.Tensor) -> tuple[int, int, int, int]:
    """Rows, channels, rows of a program, their padded width."""
    C = x.shape[-1]
    block = triton.next_power_of_2(C)
    return x.numel() // C, C, max(1, ELEMENTS // block), block


@torch.library.custom_op("autoresearch::blend_rmsnorm", mutates_args=())
def _forward(x: torch.Tensor, x0: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    s, n = torch.empty_like(x), torch.empty_like(x)
    N, C, rows, block = _sizes(x)
    grid = (triton.cdiv(N, rows),)
    _forward_kernel[grid](x, x0, a, b, s, n, N, C, EPS=EPS, ROWS=rows, BLOCK=block, num_warps=4)
    return s, n


@_forward.register_fake
def _(x, x0, a, b):
    return torch.empty_like(x), torch.empty_like(x)


@torch.library.custom_op("autoresearch::blend_rmsnorm_backward", mutates_args=())
def _backward(
    ds: torch.Tensor,
    dn: torch.Tensor,
    s: torch.Tensor,
    x: torch.Tensor,
    x0: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of x, of x0, of both scalars."""
    N, C, rows, block = _sizes(x)
    programs = triton.cdiv(N, rows)
    dx, dx0 = torch.empty_like(x), torch.empty_like(x)
    parts = x.new_empty(programs, 2, dtype=torch.float32)
    tensors = ds.contiguous(), dn.contiguous(), s, x, x0, a, b, dx, dx0, parts
    _backward_kernel[(programs,)](*tensors, N, C, EPS=EPS, ROWS=rows, BLOCK=block, num_warps=4)
    return dx, dx0, parts.sum(0)


@_backward.register_fake
def _(ds, dn, s, x, x0, a, b):
    return torch.empty_like(x), torch.empty_like(x), x.new_empty(2, dtype=torch.float32)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(output[0], *inputs)


def _gradients(ctx, ds, dn):
    dx, dx0, dab = _backward(ds, dn, *ctx.saved_tensors)
    a, b = ctx.saved_tensors[-2:]
    return dx, dx0, dab[0].to(a.dtype), dab[1].to(b.dtype)


_forward.register_autograd(_gradients, setup_context=_setup)


@op_cost("autoresearch::blend_rmsnorm_backward")
def _cost(ds, dn, s, x, x0, a, b):
    """Two arrays come out; the sum over programs is a launch of its own."""
    return OpCost(bytes=bytes_of([ds, dn, s, x, x0, x, x0]), launches=2)
