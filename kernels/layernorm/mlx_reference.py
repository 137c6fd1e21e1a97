"""LayerNorm over the last axis."""

import mlx.core as mx


def layernorm(x_NC: mx.array, weight_C: mx.array, bias_C: mx.array) -> mx.array:
    """(x - mean) / sqrt(var + 1e-5) * weight + bias, computed in float32, returned in x's dtype."""
    return mx.fast.layer_norm(x_NC, weight_C, bias_C, 1e-5)
