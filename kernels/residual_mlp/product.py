"""The MLP's products in Triton, with the norm before and the sum after them inside.

A norm's factor r is one number a token, so it may be multiplied after the product: rmsnorm(x) up^T = r (x up^T). The
normalized stream is stored nowhere, neither way.
"""

import torch
import triton
import triton.language as tl

from kernels.triton_product import BLOCK_N, grid, options, product_of_tile, tile

EPS = 2.0**-23


@triton.jit
def _up_kernel(
    x_ptr, up_ptr, act_ptr, r_ptr, M, N, K, x_row, up_row, EPS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """act = max(r x up^T, 0)^2 with r = 1 / sqrt(mean(x^2) + EPS), which the first tile of a row stores."""
    rows, columns = tile(M, N, BM, BN, GROUP)
    total, squares = tl.zeros((BM, BN), tl.float32), tl.zeros((BM,), tl.float32)
    for k in range(0, K, BK):
        ks = k + tl.arange(0, BK)
        x = tl.load(
            x_ptr + rows[:, None] * x_row + ks[None, :], mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0
        )
        up = tl.load(
            up_ptr + columns[None, :] * up_row + ks[:, None],
            mask=(columns[None, :] < N) & (ks[:, None] < K),
            other=0.0,
        )
        total = tl.dot(x, up, total, input_precision=PRECISION)
        wide = x.to(tl.float32)
        squares += tl.sum(wide * wide, 1)
    r = 1.0 / tl.sqrt(squares / K + EPS)
    h = tl.maximum(total * r[:, None], 0.0)
    seen = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(act_ptr + rows[:, None] * N + columns[None, :], (h * h).to(act_ptr.dtype.element_ty), mask=seen)
    tl.store(r_ptr + rows, r, mask=(rows < M) & (tl.min(columns, 0) == 0))


@triton.jit
def _slope_kernel(
    ds_ptr, down_ptr, act_ptr, r_ptr, dh_ptr, parts_ptr, M, N, K, ds_row, down_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dh = r (ds down) 2 sqrt(act), and this tile's share of the sum over a token's channels of dn n.

    That sum is needed for the norm's gradient. With h = n up^T it is the sum of dh h, and dact 2 sqrt(act) h is
    2 dact act: no normalized number is read for it."""
    rows, columns = tile(M, N, BM, BN, GROUP)
    dact = product_of_tile(ds_ptr, down_ptr, rows, columns, M, N, K, ds_row, 1, 1, down_row, BM, BN, BK, PRECISION)
    at = rows[:, None] * N + columns[None, :]
    seen = (rows[:, None] < M) & (columns[None, :] < N)
    act = tl.load(act_ptr + at, mask=seen, other=0.0).to(tl.float32)
    r = tl.load(r_ptr + rows, mask=rows < M, other=0.0)
    tl.store(dh_ptr + at, (dact * (2.0 * r[:, None] * tl.sqrt(act))).to(dh_ptr.dtype.element_ty), mask=seen)
    share = parts_ptr + rows * tl.cdiv(N, BN) + tl.min(columns, 0) // BN
    tl.store(share, 2.0 * tl.sum(dact * act, 1), mask=rows < M)


@triton.jit
def _stream_kernel(
    ds_ptr, dh_ptr, up_ptr, x_ptr, r_ptr, parts_ptr, dx_ptr, M, N, K, ds_row, x_row, up_row, num_parts,
    PARTS: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dx = ds + dh up - r^2 mean(dn n) x."""
    rows, columns = tile(M, N, BM, BN, GROUP)
    total = product_of_tile(dh_ptr, up_ptr, rows, columns, M, N, K, K, 1, 1, up_row, BM, BN, BK, PRECISION)
    part = tl.arange(0, PARTS)
    counted = (rows[:, None] < M) & (part[None, :] < num_parts)
    shares = tl.load(parts_ptr + rows[:, None] * num_parts + part[None, :], mask=counted, other=0.0)
    r = tl.load(r_ptr + rows, mask=rows < M, other=0.0)
    along = r * r * (tl.sum(shares, 1) / N)
    seen = (rows[:, None] < M) & (columns[None, :] < N)
    ds = tl.load(ds_ptr + rows[:, None] * ds_row + columns[None, :], mask=seen, other=0.0).to(tl.float32)
    x = tl.load(x_ptr + rows[:, None] * x_row + columns[None, :], mask=seen, other=0.0).to(tl.float32)
    dx = ds + total - along[:, None] * x
    tl.store(dx_ptr + rows[:, None] * N + columns[None, :], dx.to(dx_ptr.dtype.element_ty), mask=seen)


def activation(x_NC: torch.Tensor, up_FC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """max(rmsnorm(x) up^T, 0)^2, [N, F], and the norm's factor of each token, float32 [N]."""
    (N, C), F = x_NC.shape, len(up_FC)
    act_NF, r_N = x_NC.new_empty(N, F), x_NC.new_empty(N, dtype=torch.float32)
    strides = x_NC.stride(0), up_FC.stride(0)
    _up_kernel[grid(N, F)](x_NC, up_FC, act_NF, r_N, N, F, C, *strides, EPS=EPS, **options(x_NC))
    return act_NF, r_N


def slope(
    ds_NC: torch.Tensor, down_CF: torch.Tensor, act_NF: torch.Tensor, r_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of x up^T, [N, F], and the shares of each token's sum of dn n, one for each tile of F."""
    (N, F), C = act_NF.shape, len(down_CF)
    dh_NF = torch.empty_like(act_NF)
    parts = r_N.new_empty(N, num_parts(F))
    tensors = ds_NC, down_CF, act_NF, r_N, dh_NF, parts
    _slope_kernel[grid(N, F)](*tensors, N, F, C, ds_NC.stride(0), down_CF.stride(0), **options(ds_NC))
    return dh_NF, parts


def stream(ds_NC, dh_NF, up_FC, x_NC, r_N, parts) -> torch.Tensor:
    """Gradient of the residual stream before the MLP, [N, C]."""
    (N, C), F = x_NC.shape, len(up_FC)
    dx_NC = x_NC.new_empty(N, C)
    strides = ds_NC.stride(0), x_NC.stride(0), up_FC.stride(0)
    sizes = {"PARTS": triton.next_power_of_2(parts.shape[1]), **options(x_NC)}
    tensors = ds_NC, dh_NF, up_FC, x_NC, r_N, parts, dx_NC
    _stream_kernel[grid(N, C)](*tensors, N, C, F, *strides, parts.shape[1], **sizes)
    return dx_NC


def num_parts(F: int) -> int:
    return triton.cdiv(F, BLOCK_N)
