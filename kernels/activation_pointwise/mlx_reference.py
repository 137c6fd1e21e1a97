"""The op activation_pointwise is `relu_squared`, the squared ReLU (Primer, arXiv 2109.08668)."""

import mlx.core as mx


def relu_squared(x: mx.array) -> mx.array:
    """max(x, 0)^2"""
    return mx.square(mx.maximum(x, 0))
