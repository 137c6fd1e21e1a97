"""RMSNorm, MLP with squared ReLU, and the residual stream that its result is added to."""

import mlx.core as mx

from kernels.fused_mlp.mlx_reference import fused_mlp
from kernels.rmsnorm.mlx_reference import rmsnorm


def residual_mlp(x: mx.array, up_FC: mx.array, down_CF: mx.array) -> mx.array:
    """x + fused_mlp(rmsnorm(x)), any leading axes; in x's dtype, to which the weights are rounded first."""
    return x + fused_mlp(rmsnorm(x), up_FC, down_CF)
