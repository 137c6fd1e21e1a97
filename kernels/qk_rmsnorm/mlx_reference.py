"""RMSNorm of queries and keys, head by head."""

import mlx.core as mx

from kernels.rmsnorm.mlx_reference import rmsnorm


def qk_rmsnorm(q_NHD: mx.array, k_NGD: mx.array) -> tuple[mx.array, mx.array]:
    return rmsnorm(q_NHD), rmsnorm(k_NGD)
