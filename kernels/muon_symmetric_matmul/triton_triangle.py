"""x x^T from one triangle of tiles: each tile is stored twice, the second time transposed. No gradient."""

import torch
import triton
import triton.language as tl

from kernels.op_cost import OpCost, bytes_of, op_cost

BLOCK_R = 64


@triton.jit
def _triangle_kernel(
    x_ptr, y_ptr, R, C, x_matrix, x_row, x_column, scale, own,
    ADDS: tl.constexpr, BR: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y = x x^T; ADDS: scale x x^T + own x of a symmetric x."""
    i, j, matrix = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    if j <= i:
        rows, columns = i * BR + tl.arange(0, BR), j * BR + tl.arange(0, BR)
        x_ptr += matrix * x_matrix
        total = tl.zeros((BR, BR), tl.float32)
        for k in range(0, C, BK):
            ks = k + tl.arange(0, BK)
            a = tl.load(
                x_ptr + rows[:, None] * x_row + ks[None, :] * x_column,
                mask=(rows[:, None] < R) & (ks[None, :] < C),
                other=0.0,
            )
            b = tl.load(
                x_ptr + columns[None, :] * x_row + ks[:, None] * x_column,
                mask=(columns[None, :] < R) & (ks[:, None] < C),
                other=0.0,
            )
            total = tl.dot(a, b, total, input_precision=PRECISION)
        seen = (rows[:, None] < R) & (columns[None, :] < R)
        if ADDS:
            x = tl.load(x_ptr + rows[:, None] * x_row + columns[None, :] * x_column, mask=seen, other=0.0)
            total = scale * total + own * x.to(tl.float32)
        y = total.to(y_ptr.dtype.element_ty)
        y_ptr += matrix * R * R
        tl.store(y_ptr + rows[:, None] * R + columns[None, :], y, mask=seen)
        if j < i:
            tl.store(y_ptr + columns[:, None] * R + rows[None, :], tl.trans(y), mask=tl.trans(seen))


def symmetric_matmul(x: torch.Tensor) -> torch.Tensor:
    """As torch_reference.symmetric_matmul; x may be a transposed view."""
    return _forward(x)


def triangle(x: torch.Tensor, scale: float = 1.0, own: float = 0.0) -> torch.Tensor:
    """scale x x^T + own x, [N, R, R]; with `own` x must be symmetric."""
    N, R, C = x.shape
    y = x.new_empty(N, R, R)
    tiles, wide = triton.cdiv(R, BLOCK_R), x.dtype == torch.float32
    tile = {"BR": BLOCK_R, "BK": 32 if wide else 64, "PRECISION": "ieee" if wide else "tf32"}
    tensors, lengths = (x, y), (R, C, *x.stride())
    _triangle_kernel[(tiles, tiles, N)](
        *tensors, *lengths, scale, own, ADDS=own != 0.0, **tile, num_warps=4, num_stages=3
    )
    return y


@torch.library.custom_op("autoresearch::muon_symmetric_matmul", mutates_args=())
def _forward(x: torch.Tensor) -> torch.Tensor:
    return triangle(x)


@_forward.register_fake
def _(x):
    return x.new_empty(*x.shape[:2], x.shape[1])


@op_cost("autoresearch::muon_symmetric_matmul")
def _cost(x):
    N, R, C = x.shape
    tiles = -(-R // BLOCK_R)
    computed = N * tiles * (tiles + 1) // 2 * BLOCK_R**2
    return OpCost(bytes=bytes_of([x]) + N * R * R * x.element_size(), flops=2 * computed * C)
