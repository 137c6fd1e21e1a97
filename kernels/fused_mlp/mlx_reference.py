"""The MLP of a block: product, squared ReLU, product."""

import mlx.core as mx

from kernels.activation_pointwise.mlx_reference import relu_squared


def fused_mlp(x: mx.array, up_FC: mx.array, down_CF: mx.array) -> mx.array:
    """Any leading axes; in x's dtype, in which the weights are rounded first."""
    return relu_squared(x @ up_FC.astype(x.dtype).T) @ down_CF.astype(x.dtype).T
