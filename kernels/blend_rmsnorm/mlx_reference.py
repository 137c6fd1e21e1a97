"""Blend with the embedding x0, RMSNorm."""

import mlx.core as mx

from kernels.residual_blend.mlx_reference import residual_blend
from kernels.rmsnorm.mlx_reference import rmsnorm


def blend_rmsnorm(x: mx.array, x0: mx.array, a: mx.array, b: mx.array) -> tuple[mx.array, mx.array]:
    """(s, rmsnorm(s)) with s = a x + b x0, both in x's dtype; a and b are 0-d float32."""
    s = residual_blend(x, x0, a, b)
    return s, rmsnorm(s)
