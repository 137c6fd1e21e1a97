"""Residual stream blended with the embedding it started from, one learned scalar each."""

import mlx.core as mx


def residual_blend(x_BTC: mx.array, x0_BTC: mx.array, a: mx.array, b: mx.array) -> mx.array:
    """a x + b x0 in x's dtype; a and b are 0-d float32."""
    return _as_factor(a, x_BTC) * x_BTC + _as_factor(b, x_BTC) * x0_BTC


def _as_factor(a: mx.array, x_BTC: mx.array) -> mx.array:
    """[B, T, 1] in x's dtype. As it is, a float32 scalar would make all that follows float32; cast to bf16, its
    gradient would be a sum over all of x in bf16. So it is cast after it was repeated: tokens add up in float32."""
    return mx.broadcast_to(a, (*x_BTC.shape[:-1], 1)).astype(x_BTC.dtype)
