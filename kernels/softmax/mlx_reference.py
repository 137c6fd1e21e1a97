"""Softmax over the last axis."""

import mlx.core as mx


def softmax(z_NV: mx.array) -> mx.array:
    """Computed in float32, returned in z's dtype."""
    return mx.softmax(z_NV, axis=-1, precise=True)
