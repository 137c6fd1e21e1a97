"""A projection added to the residual stream."""

import mlx.core as mx


def residual_linear(x: mx.array, y: mx.array, w_CK: mx.array) -> mx.array:
    """x + y w^T, any leading axes; in x's dtype, to which the weight is rounded first."""
    return x + y @ w_CK.astype(x.dtype).T
