"""Rotary embedding, then RMSNorm, of queries and keys."""

import mlx.core as mx

from kernels.rmsnorm.mlx_reference import rmsnorm
from kernels.rotary_embedding.mlx_reference import rotate_by_tables


def rope_qk_fused(q_BTHD: mx.array, k_BTGD: mx.array, cos_TK: mx.array, sin_TK: mx.array) -> tuple[mx.array, mx.array]:
    """Both in their own dtype; K = D / 2."""
    return rmsnorm(rotate_by_tables(q_BTHD, cos_TK, sin_TK)), rmsnorm(rotate_by_tables(k_BTGD, cos_TK, sin_TK))
