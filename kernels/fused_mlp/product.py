"""A product in Triton with the MLP's arithmetic at its end."""

import torch
import triton
import triton.language as tl

from kernels.triton_product import BLOCK_N, grid, options, product_of_tile, tile


@triton.jit
def _up_kernel(
    x_ptr, up_ptr, act_ptr, M, N, K, x_row, up_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """act = max(x up^T, 0)^2."""
    rows, columns = tile(M, N, BM, BN, GROUP)
    h = tl.maximum(
        product_of_tile(x_ptr, up_ptr, rows, columns, M, N, K, x_row, 1, up_row, 1, BM, BN, BK, PRECISION), 0.0
    )
    seen = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(act_ptr + rows[:, None] * N + columns[None, :], (h * h).to(act_ptr.dtype.element_ty), mask=seen)


@triton.jit
def _slope_kernel(
    dy_ptr, down_ptr, act_ptr, dh_ptr, M, N, K, dy_row, down_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dh = (dy down) 2 sqrt(act): act is max(h, 0)^2, whose root is the slope's half."""
    rows, columns = tile(M, N, BM, BN, GROUP)
    dact = product_of_tile(dy_ptr, down_ptr, rows, columns, M, N, K, dy_row, 1, 1, down_row, BM, BN, BK, PRECISION)
    at = rows[:, None] * N + columns[None, :]
    seen = (rows[:, None] < M) & (columns[None, :] < N)
    act = tl.load(act_ptr + at, mask=seen, other=0.0).to(tl.float32)
    tl.store(dh_ptr + at, (dact * 2.0 * tl.sqrt(act)).to(dh_ptr.dtype.element_ty), mask=seen)


@triton.jit
def _recompute_kernel(
    x_ptr, up_ptr, dy_ptr, down_ptr, act_ptr, dh_ptr, M, N, K, x_row, up_row, dy_row, down_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """act = max(x up^T, 0)^2 again, and dh = (dy down) 2 max(x up^T, 0)."""
    rows, columns = tile(M, N, BM, BN, GROUP)
    h = tl.maximum(
        product_of_tile(x_ptr, up_ptr, rows, columns, M, N, K, x_row, 1, up_row, 1, BM, BN, BK, PRECISION), 0.0
    )
    at = rows[:, None] * N + columns[None, :]
    seen = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(act_ptr + at, (h * h).to(act_ptr.dtype.element_ty), mask=seen)
    dact = product_of_tile(dy_ptr, down_ptr, rows, columns, M, N, K, dy_row, 1, 1, down_row, BM, BN, BK, PRECISION)
    tl.store(dh_ptr + at, (dact * 2.0 * h).to(dh_ptr.dtype.element_ty), mask=seen)


def activation(x_NC: torch.Tensor, up_FC: torch.Tensor) -> torch.Tensor:
    """max(x up^T, 0)^2, [N, F]; the product itself is never stored."""
    (N, C), F = x_NC.shape, len(up_FC)
    act_NF = x_NC.new_empty(N, F)
    _up_kernel[grid(N, F)](x_NC, up_FC, act_NF, N, F, C, x_NC.stride(0), up_FC.stride(0), **options(x_NC))
    return act_NF


def slope(dy_NC: torch.Tensor, down_CF: torch.Tensor, act_NF: torch.Tensor) -> torch.Tensor:
    """Gradient of the hidden product from what it became, [N, F]."""
    (N, F), C = act_NF.shape, len(down_CF)
    dh_NF = torch.empty_like(act_NF)
    strides = dy_NC.stride(0), down_CF.stride(0)
    _slope_kernel[grid(N, F)](dy_NC, down_CF, act_NF, dh_NF, N, F, C, *strides, **options(dy_NC))
    return dh_NF


def recomputed(x_NC, up_FC, dy_NC, down_CF) -> tuple[torch.Tensor, torch.Tensor]:
    """The activation once more and the gradient of the hidden product, [N, F] each."""
    (N, C), F = x_NC.shape, len(up_FC)
    act_NF, dh_NF = x_NC.new_empty(N, F), x_NC.new_empty(N, F)
    strides = (x.stride(0) for x in (x_NC, up_FC, dy_NC, down_CF))
    tensors = x_NC, up_FC, dy_NC, down_CF, act_NF, dh_NF
    _recompute_kernel[grid(N, F)](*tensors, N, F, C, *strides, **options(x_NC, BN=BLOCK_N // 2))
    return act_NF, dh_NF
