"""Three kernels: A and b A + c A^2, which are symmetric, from one triangle of tiles each, and the product with x.

What is scaled and added is added at the end of the product. torch.baddbmm copies it to where the sum will lie first.
"""

import torch
import triton
import triton.language as tl

from kernels.muon_symmetric_matmul.triton_triangle import BLOCK_R, triangle
from kernels.op_cost import OpCost, bytes_of, op_cost

BLOCK_C = 128


@triton.jit
def _apply_kernel(
    B_ptr, x_ptr, y_ptr, R, C, x_matrix, x_row, x_column, a,
    BR: tl.constexpr, BC: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y = a x + B x."""
    rows, columns = tl.program_id(0) * BR + tl.arange(0, BR), tl.program_id(1) * BC + tl.arange(0, BC)
    matrix = tl.program_id(2).to(tl.int64)
    B_ptr += matrix * R * R
    x_ptr += matrix * x_matrix
    total = tl.zeros((BR, BC), tl.float32)
    for k in range(0, R, BK):
        ks = k + tl.arange(0, BK)
        B = tl.load(B_ptr + rows[:, None] * R + ks[None, :], mask=(rows[:, None] < R) & (ks[None, :] < R), other=0.0)
        x = tl.load(
            x_ptr + ks[:, None] * x_row + columns[None, :] * x_column,
            mask=(ks[:, None] < R) & (columns[None, :] < C),
            other=0.0,
        )
        total = tl.dot(B, x, total, input_precision=PRECISION)
    seen = (rows[:, None] < R) & (columns[None, :] < C)
    x = tl.load(x_ptr + rows[:, None] * x_row + columns[None, :] * x_column, mask=seen, other=0.0).to(tl.float32)
    y = (total + a * x).to(y_ptr.dtype.element_ty)
    tl.store(y_ptr + matrix * R * C + rows[:, None] * C + columns[None, :], y, mask=seen)


def muon_polynomial(x: torch.Tensor, a: float, b: float, c: float) -> torch.Tensor:
    """As torch_reference.muon_polynomial; x may be a transposed view, y is none."""
    return _forward(x, a, b, c)


@torch.library.custom_op("autoresearch::muon_polynomial", mutates_args=())
def _forward(x: torch.Tensor, a: float, b: float, c: float) -> torch.Tensor:
    N, R, C = x.shape
    B = triangle(triangle(x), scale=c, own=b)
    y, wide = x.new_empty(N, R, C), x.dtype == torch.float32
    tile = {"BR": BLOCK_R, "BC": BLOCK_C, "BK": 32 if wide else 64, "PRECISION": "ieee" if wide else "tf32"}
    grid = triton.cdiv(R, BLOCK_R), triton.cdiv(C, BLOCK_C), N
    _apply_kernel[grid](B, x, y, R, C, *x.stride(), a, **tile, num_warps=4, num_stages=3)
    return y


@_forward.register_fake
def _(x, a, b, c):
    return x.new_empty(x.shape)


@op_cost("autoresearch::muon_polynomial")
def _cost(x, a, b, c):
    """x is read twice and y written; A is written and read, and so is b A + c A^2."""
    N, R, C = x.shape
    tiles = -(-R // BLOCK_R)
    triangle_size = N * tiles * (tiles + 1) // 2 * BLOCK_R**2
    moved = 3 * bytes_of([x]) + 4 * N * R * R * x.element_size()
    return OpCost(bytes=moved, flops=2 * triangle_size * (C + R) + 2 * N * R * R * C, launches=3)
