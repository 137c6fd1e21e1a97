"""Tiles of a b^T in Triton with float32 sums: what kernels begin with that do something at the end of a product.

Tile sizes fit the shared memory of every architecture of the targets table (99 KiB on sm_120).
"""

import torch
import triton
import triton.language as tl

BLOCK_M, BLOCK_N, GROUP = 128, 128, 8


@triton.jit
def tile(M, N, BM: tl.constexpr, BN: tl.constexpr, GROUP: tl.constexpr):
    """Rows and columns of this program's tile. GROUP tiles down, then one right: neighbours read the same b."""
    program = tl.program_id(0)
    across = tl.cdiv(N, BN)
    first = program // (GROUP * across) * GROUP
    height = tl.minimum(tl.cdiv(M, BM) - first, GROUP)
    inside = program % (GROUP * across)
    m, n = first + inside % height, inside // height
    return m * BM + tl.arange(0, BM).to(tl.int64), n * BN + tl.arange(0, BN).to(tl.int64)


@triton.jit
def product_of_tile(
    a_ptr, b_ptr, rows, columns, M, N, K, a_row, a_k, b_row, b_k,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """sum over k of a[row, k] b[column, k] in float32."""
    total = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        ks = k + tl.arange(0, BK)
        a = tl.load(
            a_ptr + rows[:, None] * a_row + ks[None, :] * a_k, mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0
        )
        b = tl.load(
            b_ptr + columns[None, :] * b_row + ks[:, None] * b_k,
            mask=(columns[None, :] < N) & (ks[:, None] < K),
            other=0.0,
        )
        total = tl.dot(a, b, total, input_precision=PRECISION)
    return total


def grid(M: int, N: int):
    """One program a tile."""
    return lambda meta: (triton.cdiv(M, meta["BM"]) * triton.cdiv(N, meta["BN"]),)


def options(x: torch.Tensor, BN: int = BLOCK_N) -> dict:
    """Half the depth in float32, whose products are exact ones, not TF32."""
    wide = x.dtype == torch.float32
    sizes = {"BM": BLOCK_M, "BN": BN, "BK": 32 if wide else 64, "GROUP": GROUP, "PRECISION": "ieee" if wide else "tf32"}
    return {**sizes, "num_warps": 8, "num_stages": 2 if wide else 3}
