"""A product in Triton that is added to what it ends in.

torch.addmm with a matrix to add copies that matrix first, so cuBLAS's own epilogue moves two arrays more.
"""

import torch
import triton
import triton.language as tl

from kernels.triton_product import grid, options, product_of_tile, tile


@triton.jit
def _sum_kernel(
    x_ptr, y_ptr, w_ptr, s_ptr, M, N, K, x_row, y_row, w_row,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """s = x + y w^T."""
    rows, columns = tile(M, N, BM, BN, GROUP)
    total = product_of_tile(y_ptr, w_ptr, rows, columns, M, N, K, y_row, 1, w_row, 1, BM, BN, BK, PRECISION)
    seen = (rows[:, None] < M) & (columns[None, :] < N)
    x = tl.load(x_ptr + rows[:, None] * x_row + columns[None, :], mask=seen, other=0.0).to(tl.float32)
    tl.store(s_ptr + rows[:, None] * N + columns[None, :], (x + total).to(s_ptr.dtype.element_ty), mask=seen)


def sum_with_product(x_NC: torch.Tensor, y_NK: torch.Tensor, w_CK: torch.Tensor) -> torch.Tensor:
    """x + y w^T, [N, C]."""
    (N, C), K = x_NC.shape, y_NK.shape[1]
    s_NC = x_NC.new_empty(N, C)
    strides = (each.stride(0) for each in (x_NC, y_NK, w_CK))
    _sum_kernel[grid(N, C)](x_NC, y_NK, w_CK, s_NC, N, C, K, *strides, **options(x_NC))
    return s_NC
